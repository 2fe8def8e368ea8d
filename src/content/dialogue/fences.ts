import type { Stretch } from "./incises.ts";

const fenceLine = /^[ \t]*(`{3,}|~{3,})([^`~\n]*)$/gm;

/** The text with its fenced Markdown code blanked out, so that offsets and lines stay. Takes linear time. */
export function withoutFences(text: string): string {
  let from = 0;
  const parts = findFences(text).flatMap(({ start, end }) => {
    const before = text.slice(from, start);
    from = end;
    return [before, text.slice(start, end).replace(/[^\r\n]/g, " ")];
  });
  return [...parts, text.slice(from)].join("");
}

/** From fence to fence. What opens and never closes is none: a misprint would take the rest of the text with it. */
function findFences(text: string): Stretch[] {
  const fences: Stretch[] = [];
  let open: { readonly start: number; readonly ticks: string } | undefined;
  for (const { 0: line, 1: ticks = "", 2: info = "", index: start } of text.matchAll(fenceLine)) {
    const end = start + line.length;
    if (open === undefined) {
      if (!isSceneBreak(text, start, end)) open = { start, ticks };
    } else if (ticks.startsWith(open.ticks) && info.trim() === "") {
      fences.push({ start: open.start, end });
      open = undefined;
    }
  }
  return fences;
}

/** Bare tildes part scenes too: they open code only where it follows at once, below a blank line. */
function isSceneBreak(text: string, start: number, end: number): boolean {
  if (!/^\s*~+\s*$/.test(text.slice(start, end))) return false;
  const isBelowBlank = /(?:^|\n)[ \t\r]*\n$/.test(text.slice(Math.max(0, start - 80), start)) || start === 0;
  return !isBelowBlank || !/^\r?\n[ \t]*[^\s]/.test(text.slice(end, end + 80));
}

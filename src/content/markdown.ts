/** A heading of a Markdown text: its lines are `[start, end)`; `depth` is 1 to 6. */
export type Heading = {
  readonly start: number;
  readonly end: number;
  readonly depth: number;
  readonly title: string;
};

/** The ATX (`# Title`) and setext (underlined) headings outside code fences. Expects normalised text. */
export function markdownHeadings(text: string): readonly Heading[] {
  const headings: Heading[] = [];
  let fence = "";
  for (const match of text.matchAll(marks)) {
    const [, hashes, title, ticks, underline] = match;
    if (ticks !== undefined) fence = nextFence(fence, ticks);
    else if (fence !== "") continue;
    else if (hashes !== undefined && title !== undefined)
      headings.push(atx(match.index, match[0], hashes, title));
    else if (underline !== undefined) headings.push(...setext(text, match.index, match[0]));
  }
  return headings;
}

const marks = /^ {0,3}(?:(#{1,6}) +(\S.*)|(`{3,}|~{3,}).*|(={3,}|-{3,}) *)$/gm;

function nextFence(open: string, ticks: string): string {
  if (open === "") return ticks;
  return ticks.startsWith(open) ? "" : open;
}

function atx(start: number, line: string, hashes: string, title: string): Heading {
  return { start, end: start + line.length, depth: hashes.length, title: title.replace(/( +#+)? *$/, "") };
}

/** Only a short paragraph of one line that ends no sentence is a title; else the underline is a scene break. */
function setext(text: string, underlineStart: number, underline: string): readonly Heading[] {
  const start = text.lastIndexOf("\n", underlineStart - 2) + 1;
  const title = text.slice(start, Math.max(start, underlineStart - 1)).trim();
  const isTitle = title !== "" && title.length <= 100 && !/[.!?…,;:"”’]$/.test(title);
  if (!isTitle || !isBlankLineBefore(text, start)) return [];
  const depth = underline.includes("=") ? 1 : 2;
  return [{ start, end: underlineStart + underline.length, depth, title }];
}

function isBlankLineBefore(text: string, lineStart: number): boolean {
  const before = text.lastIndexOf("\n", lineStart - 2) + 1;
  return lineStart === 0 || text.slice(before, lineStart).trim() === "";
}

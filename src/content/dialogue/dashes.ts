import { narrates, type Stretch, withoutIncises } from "./incises.ts";
import type { Layout } from "./layout.ts";
import { tellsOfSaying, wordsOf } from "./verbs.ts";

const dashLine =
  /(?<=^|\n)[ \t\u00a0]*(—|–|―|--?(?=[\s\u00a0]|[\p{Lu}¿¡]))[ \t\u00a0]*(?=[\p{L}¿¡…'’.(_])[^\n]*/gu;

/** Paragraphs that a dash opens as speech: “— Oui, dit-il, je viens.” Only what is said in them is kept. */
export function findDashed(text: string, layout: Layout): Stretch[] {
  const lines = Array.from(text.matchAll(dashLine), ({ 0: line, 1: dash = "", index }) => ({
    start: index + line.indexOf(dash),
    end: index + line.length,
    dash,
  }));
  const paragraphs = lines
    .filter(({ start }) => opensParagraph(text, start))
    .map(({ start, end, dash }, i, all) => ({
      start,
      end: endOfParagraph(text, end, all[i + 1]?.start ?? text.length, layout),
      dash,
    }));
  if (!isDialogue(text, paragraphs, layout)) return [];
  return paragraphs.flatMap((paragraph) => withoutIncises(text, paragraph));
}

/** A wrapped line may begin with a dash by chance; speech follows a full stop and begins with a capital. */
function opensParagraph(text: string, start: number): boolean {
  const before = text.slice(Math.max(0, start - 40), start);
  const opens = /^[—–―\-\s]+[^\p{L}]*[\p{Lu}\p{Lo}]/u.test(text.slice(start, start + 12));
  return opens && /(?:^|\n[ \t\r]*\n|[.!?…:»”"—–_)\]]\s*\n)\s*$/u.test(before);
}

function endOfParagraph(text: string, lineEnd: number, next: number, layout: Layout): number {
  if (layout === "lines") return lineEnd;
  if (layout === "tokenised") return endOfSpeech(text, lineEnd, next);
  const gap = text.slice(lineEnd, next).search(/\n[ \t\r]*\n/);
  return gap < 0 ? next : lineEnd + gap;
}

/** Without paragraphs, speech goes on for as long as the sentences do not tell the story. */
function endOfSpeech(text: string, lineEnd: number, next: number): number {
  let end = lineEnd;
  while (end < next - 1) {
    const newline = text.indexOf("\n", end + 1);
    const stop = newline < 0 ? text.length : newline;
    if (narrates(text.slice(end + 1, stop)) || end - lineEnd > 1000) return end;
    end = stop;
  }
  return end;
}

/** Dashes open list items and signatures too: speech asks, exclaims, is attributed, or happens again and again. */
function isDialogue(
  text: string,
  paragraphs: readonly (Stretch & { dash: string })[],
  layout: Layout,
): boolean {
  const said = paragraphs.filter(({ start, end }) => isSaid(text.slice(start, end)));
  const needed = layout === "tokenised" ? 5 : 1;
  return said.length >= needed && said.length * 3 >= paragraphs.length && !isList(text, paragraphs);
}

function isSaid(paragraph: string): boolean {
  if (/[!?…]/.test(paragraph) || tellsOfSaying(paragraph)) return true;
  return paragraph.trimEnd().endsWith(".") && wordsOf(paragraph).length > 3;
}

/** Hyphens usually list: they open speech only where somebody is named as saying it. */
function isList(text: string, paragraphs: readonly (Stretch & { dash: string })[]): boolean {
  const hyphens = paragraphs.filter(({ dash }) => dash === "-");
  return hyphens.length * 2 > paragraphs.length && withoutTags(text, hyphens);
}

function withoutTags(text: string, paragraphs: readonly Stretch[]): boolean {
  return paragraphs.every((paragraph) => {
    const [first, second] = withoutIncises(text, paragraph);
    return (
      second === undefined && (first === undefined || text.slice(first.end, paragraph.end).trim() === "")
    );
  });
}

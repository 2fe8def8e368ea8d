/** How the lines of a text are to be read. */
export type Layout =
  /** A sentence a line and a space around every token, as corpora are. Paragraphs are lost. */
  | "tokenised"
  /** Blank lines part the paragraphs; other line ends are only wrapping. */
  | "blocks"
  /** Each line is a paragraph. */
  | "lines";

const sample = 100_000;

export function layoutOf(text: string): Layout {
  const start = text.slice(0, sample);
  if (isTokenised(start)) return "tokenised";
  return /\n[ \t\r]*\n/.test(start) || isWrapped(start) ? "blocks" : "lines";
}

/** A paragraph hardly ever begins with a small letter; of lines that are broken off at a width, nine in ten do. */
const mostSmall = 0.25;

/** One paragraph whose lines are broken off, as a block of a book may be that wraps its text. */
function isWrapped(text: string): boolean {
  const ends = text.match(/\n[ \t\r]*\S/g)?.length ?? 0;
  const small = text.match(/\n[ \t\r]*\p{Ll}/gu)?.length ?? 0;
  return small > mostSmall * ends;
}

/** A space stands before most commas and stops. French sets a space before “!” and “:”, but not before these. */
function isTokenised(text: string): boolean {
  const apart = text.match(/\p{L} [.,](?=\s)/gu)?.length ?? 0;
  const tight = text.match(/\p{L}[.,](?=\s)/gu)?.length ?? 0;
  return apart > 3 * tight;
}

/** Where speech may break off: the starts of paragraphs, or of sentences where paragraphs are lost. */
export function blockStarts(text: string, layout: Layout): number[] {
  const gaps = layout === "blocks" ? /\n[ \t\r]*\n\s*/g : /\n\s*/g;
  return [0, ...Array.from(text.matchAll(gaps), ({ 0: gap, index }) => index + gap.length)];
}

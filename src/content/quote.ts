import type { Span } from "./span.ts";

/**
 * Where `quote` stands in `text`, from the offset `from` on, or undefined where it was made up. Its words must be the
 * same, and whole at both ends; how white space, quotation marks, dashes and ellipses are typed, and the marks around
 * the quote, may differ, since models write the plain ones. A quote without a letter stands nowhere.
 */
export function findQuote(text: string, quote: string, from = 0): Span | undefined {
  const wanted = betweenMarks.exec(fold(quote).text)?.[0] ?? "";
  if (!/\p{L}/u.test(wanted)) return undefined;
  const folded = fold(text.slice(from));
  for (let at = folded.text.indexOf(wanted); at >= 0; at = folded.text.indexOf(wanted, at + 1)) {
    const [first = 0, last = 0] = [folded.origin[at], folded.origin[at + wanted.length - 1]];
    const span = { start: from + first, end: from + last + 1 };
    if (!isInsideWord(text, span.start) && !isInsideWord(text, span.end)) return span;
  }
  return undefined;
}

/** How many words a quote is. Where a script puts no spaces between words, each letter counts as one. */
export function countWords(quote: string): number {
  return quote.match(words)?.length ?? 0;
}

/** Not a lazy pattern with an end: that takes the square of a long row of dots. */
const betweenMarks = /[^"'\s.,-](?:.*[^"'\s.,-])?/s;

const unspaced = String.raw`[\p{sc=Han}\p{sc=Hira}\p{sc=Kana}\p{sc=Thai}\p{sc=Lao}\p{sc=Khmr}\p{sc=Mymr}\p{sc=Tibt}]`;
const letter = String.raw`[[\p{L}\p{M}\p{N}]--${unspaced}]`;
const hyphen = String.raw`[\-‐‑]`;

const words = new RegExp(String.raw`${letter}+(?:(?:['’]|${hyphen})${letter}+)*|[\p{L}&&${unspaced}]`, "gv");

/** "kind" in "unkind" and "un-kind", and "can" in "can't"; but "I-I hate you" stutters "I hate you". */
const insideWord = new RegExp(
  `(?<=${letter})(?=${letter}|${hyphen}${letter}|['’]t(?!${letter}))|(?<=${letter}{2}${hyphen})(?=${letter})`,
  "vy",
);

function isInsideWord(text: string, at: number): boolean {
  insideWord.lastIndex = at;
  return insideWord.test(text);
}

/** A text in one way of typing; `origin[i]` is where its character `i` stood. */
type Folded = { readonly text: string; readonly origin: readonly number[] };

function fold(text: string): Folded {
  const pieces = Array.from(text.matchAll(typed), ({ 0: piece, index }) => ({
    plain: plainForm(piece),
    index,
  }));
  return {
    text: pieces.map(({ plain }) => plain).join(""),
    origin: pieces.flatMap(({ plain, index }) => Array.from(plain, () => index)),
  };
}

const typed = /\s+|[‐-―-]+|./gs;

function plainForm(piece: string): string {
  if (/^\s/.test(piece)) return " ";
  if (/^[‐-―-]/.test(piece)) return "-";
  if (/[“”„‟«»「」『』″]/.test(piece)) return '"';
  if (/[‘’‚‛‹›`´′]/.test(piece)) return "'";
  return piece === "…" ? "..." : piece;
}

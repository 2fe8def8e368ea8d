import type { Span } from "./names.ts";

/**
 * Where `quote` stands in `text` from `from` on, or undefined where it was made up. White space counts as one space,
 * and typographic quotation marks, dashes and ellipses as their plain forms, since models write the plain ones.
 */
export function findQuote(text: string, quote: string, from = 0): Span | undefined {
  const wanted = fold(quote).text.trim();
  if (wanted === "") return undefined;
  const folded = fold(text.slice(from));
  const at = folded.text.indexOf(wanted);
  if (at < 0) return undefined;
  const [start = 0, last = 0] = [folded.origin[at], folded.origin[at + wanted.length - 1]];
  return { start: from + start, end: from + last + 1 };
}

/** The folded text, and for each of its characters the offset it comes from. */
type Folded = { readonly text: string; readonly origin: readonly number[] };

function fold(text: string): Folded {
  const pieces = Array.from(text.matchAll(/\s+|\S/g), ({ 0: piece, index }) => ({
    plain: plainForm(piece),
    index,
  }));
  return {
    text: pieces.map(({ plain }) => plain).join(""),
    origin: pieces.flatMap(({ plain, index }) => Array.from(plain, () => index)),
  };
}

function plainForm(piece: string): string {
  if (/^\s/.test(piece)) return " ";
  if (/[“”„«»‟″]/.test(piece)) return '"';
  if (/[‘’‚‛′]/.test(piece)) return "'";
  if (/[–—―‑]/.test(piece)) return "-";
  return piece === "…" ? "..." : piece;
}

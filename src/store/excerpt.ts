import { mark } from "./words.ts";

/** Where a found word starts and ends among the indexed words. */
export const wordStart = "\u0002";
export const wordEnd = "\u0003";

type Span = { readonly start: number; readonly end: number };

/** How much an excerpt shows before its first word and in all, in UTF-16 code units. */
const before = 60;
const most = 200;

/** The part of `text` where most of the found words stand, each of them «so». `words` is the text as it was indexed. */
export function excerpt(text: string, words: string): string {
  const found = foundSpans(words);
  const { start, end } = wholeWords(text, densest(found, text.length));
  const shown = found.filter((span) => span.start >= start && span.end <= end);
  let marked = "";
  let at = start;
  for (const span of shown) {
    marked += `${text.slice(at, span.start)}«${text.slice(span.start, span.end)}»`;
    at = span.end;
  }
  return (marked + text.slice(at, end)).trim();
}

/** Offsets into the text: the indexed words are as long, but for what was set between them. */
function foundSpans(words: string): readonly Span[] {
  const spans: Span[] = [];
  let at = 0;
  let start = 0;
  for (const unit of words.split("")) {
    if (unit === wordStart) start = at;
    else if (unit === wordEnd) spans.push({ start, end: at });
    else if (unit !== mark) at++;
  }
  return spans;
}

/** Of the windows that begin with a found word, the first that shows most of them. */
function densest(found: readonly Span[], length: number): Span {
  const windows = found.map(({ start }) => ({
    start: Math.max(0, start - before),
    end: start - before + most,
  }));
  const shows = ({ start, end }: Span) =>
    found.filter((span) => span.start >= start && span.end <= end).length;
  const best = windows.reduce<Span | undefined>((a, b) => (a && shows(a) >= shows(b) ? a : b), undefined);
  return { start: best?.start ?? 0, end: Math.min(length, best?.end ?? most) };
}

/** The same part without the halves of words at its edges, where the text has words to keep whole. */
function wholeWords(text: string, { start, end }: Span): Span {
  const first = start === 0 ? 0 : text.slice(start, start + 20).search(/\s/);
  const last = end === text.length ? 0 : text.slice(end - 20, end).search(/\s\S*$/);
  return { start: start + Math.max(0, first), end: last > 0 ? end - 20 + last : end };
}

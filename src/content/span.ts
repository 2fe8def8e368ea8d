/** A stretch of a text: offsets in UTF-16 code units, end exclusive. */
export type Span = { readonly start: number; readonly end: number };

/** The span without the white space at its ends. */
export function trimmed(text: string, { start, end }: Span): Span {
  const slice = text.slice(start, end);
  const from = start + slice.length - slice.trimStart().length;
  return { start: from, end: Math.max(from, start + slice.trimEnd().length) };
}

export function isBlank(text: string, { start, end }: Span): boolean {
  return text.slice(start, end).trim() === "";
}

/** The spans that `starts`, in rising order, cut a span into. */
export function cutAt({ start, end }: Span, starts: readonly number[]): readonly Span[] {
  return [start, ...starts].map((from, at) => ({ start: from, end: starts[at] ?? end }));
}

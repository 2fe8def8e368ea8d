/** One line of a text, without its LF. */
export type Line = { readonly start: number; readonly end: number };

/** The line that holds `offset`. */
export function lineAt(text: string, offset: number): Line {
  const end = text.indexOf("\n", offset);
  const start = offset === 0 ? 0 : text.lastIndexOf("\n", offset - 1) + 1;
  return { start, end: end < 0 ? text.length : end };
}

export function lineBefore(text: string, { start }: Line): Line | undefined {
  return start === 0 ? undefined : lineAt(text, start - 1);
}

export function lineAfter(text: string, { end }: Line): Line | undefined {
  return end >= text.length ? undefined : lineAt(text, end + 1);
}

export function read(text: string, line: Line | undefined): string {
  return line ? text.slice(line.start, line.end).trim() : "";
}

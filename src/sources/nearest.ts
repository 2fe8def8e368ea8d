/** The word that `written` most likely meant: at most a third of its letters are wrong. */
export function nearest(written: string, words: readonly string[]): string | undefined {
  const most = Math.max(1, Math.floor(written.length / 3));
  const near = words
    .map((word) => ({ word, edits: editsBetween(written.toLowerCase(), word) }))
    .toSorted((a, b) => a.edits - b.edits)[0];
  return near && near.edits <= most ? near.word : undefined;
}

/** Insertions, deletions and substitutions of single letters, and swaps of two neighbours. */
function editsBetween(from: string, to: string): number {
  const rows = [Array.from({ length: to.length + 1 }, (_, at) => at)];
  for (let at = 1; at <= from.length; at++) {
    const row = [at];
    for (let column = 1; column <= to.length; column++) {
      const edits = (up: number, left: number) => rows[at - up]?.[column - left] ?? 0;
      const kept = edits(1, 1) + (from[at - 1] === to[column - 1] ? 0 : 1);
      const swapped = areSwapped(from, at, to, column) ? edits(2, 2) + 1 : kept;
      row.push(Math.min(kept, edits(1, 0) + 1, (row[column - 1] ?? 0) + 1, swapped));
    }
    rows.push(row);
  }
  return rows.at(-1)?.at(-1) ?? 0;
}

function areSwapped(from: string, at: number, to: string, column: number): boolean {
  return at > 1 && column > 1 && from[at - 1] === to[column - 2] && from[at - 2] === to[column - 1];
}

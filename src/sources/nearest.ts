/** The word that `written` most likely meant: at most a third of its letters are wrong. */
export function nearest(written: string, words: readonly string[]): string | undefined {
  const most = Math.max(1, Math.floor(written.length / 3));
  const near = words
    .map((word) => ({ word, edits: editsBetween(written.toLowerCase(), word) }))
    .toSorted((a, b) => a.edits - b.edits)[0];
  return near && near.edits <= most ? near.word : undefined;
}

/** Levenshtein's distance: insertions, deletions and substitutions of single letters. */
function editsBetween(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, at) => at);
  for (let at = 1; at <= from.length; at++) {
    const next = [at];
    for (let column = 1; column <= to.length; column++) {
      const kept = (row[column - 1] ?? 0) + (from[at - 1] === to[column - 1] ? 0 : 1);
      next.push(Math.min(kept, (row[column] ?? 0) + 1, (next[column - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row.at(-1) ?? 0;
}

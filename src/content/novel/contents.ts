import type { Heading } from "./heading.ts";

/** The headings without those of a table of contents, which name the same chapters with nothing between them. */
export function withoutContents(text: string, headings: readonly Heading[]): readonly Heading[] {
  return withoutBareRuns(text, withoutRepeated(headings));
}

/** An entry of a table of contents takes less than this many characters. */
const longestEntry = 400;

/** A list of at least two, near the start, that the headings after it repeat. */
function withoutRepeated(headings: readonly Heading[]): readonly Heading[] {
  const keys = headings.map(({ label }) => label.toLowerCase());
  for (let from = 0; from < Math.min(5, keys.length); from++) {
    const to = keys.indexOf(keys[from] ?? "", from + 1);
    if (isContents(headings, keys, from, to)) return headings.toSpliced(from, to - from);
  }
  return headings;
}

function isContents(
  headings: readonly Heading[],
  keys: readonly string[],
  from: number,
  to: number,
): boolean {
  if (to - from < 2) return false;
  const length = (headings[to]?.start ?? 0) - (headings[from]?.start ?? 0);
  if (length > longestEntry * (to - from)) return false;
  const later = new Set(keys.slice(to));
  return keys.slice(from, to).every((key) => later.has(key));
}

/** Three or more of one rank with no word between them. The last stays, unless counting begins anew after it. */
function withoutBareRuns(text: string, headings: readonly Heading[]): readonly Heading[] {
  return runsOf(text, headings).flatMap((run, at, runs) => {
    if (run.length < 3) return run;
    return runs[at + 1]?.[0]?.number === 1 ? [] : run.slice(-1);
  });
}

function runsOf(text: string, headings: readonly Heading[]): readonly (readonly Heading[])[] {
  const runs: Heading[][] = [];
  for (const heading of headings) {
    const run = runs.at(-1);
    const last = run?.at(-1);
    const isBare = last?.rank === heading.rank && text.slice(last.end, heading.start).trim() === "";
    if (run && isBare) run.push(heading);
    else runs.push([heading]);
  }
  return runs;
}

import { diffArrays } from "diff";

/** A child of one parent. `parts` are the digests of all that is below it. */
export type Sibling = { readonly digest: string; readonly parts: readonly string[] };

/**
 * For each sibling after an edit, the index of the one before that it continues, or undefined where it is new: equal
 * ones first; between these, those that share parts; between these, the others in order.
 */
export function alignSiblings(
  before: readonly Sibling[],
  after: readonly Sibling[],
): readonly (number | undefined)[] {
  const whole: Gap = { before: [0, before.length], after: [0, after.length] };
  const equal = equalPairs(before, after);
  const alike = gapsBetween(whole, equal).flatMap((gap) => alikePairs(before, after, gap));
  const known = [...equal, ...alike].toSorted(([, a], [, b]) => a - b);
  const rest = gapsBetween(whole, known).flatMap(inOrder);
  const continued = new Map([...known, ...rest].map(([from, to]) => [to, from]));
  return after.map((_, to) => continued.get(to));
}

/** Index before, index after. Lists of pairs rise in both. */
type Pair = readonly [before: number, after: number];
type Range = readonly [start: number, end: number];
type Gap = { readonly before: Range; readonly after: Range };

/** Beyond this many moves, siblings were shuffled rather than edited, and a diff would take quadratic time. */
const mostMoves = 1_000;

/** The longest common order. What stands on one side only is left out first: it can only cost time. */
function equalPairs(before: readonly Sibling[], after: readonly Sibling[]): readonly Pair[] {
  const old = shared(before, after);
  const young = shared(after, before);
  const changes = diffArrays(
    old.map((at) => before[at]?.digest),
    young.map((at) => after[at]?.digest),
    { maxEditLength: mostMoves },
  );
  const pairs: Pair[] = [];
  let [from, to] = [0, 0];
  for (const { count, added, removed } of changes ?? []) {
    for (let step = 0; !added && !removed && step < count; step++) {
      pairs.push([old[from + step] ?? 0, young[to + step] ?? 0]);
    }
    if (!added) from += count;
    if (!removed) to += count;
  }
  return pairs;
}

/** The indices of `some` whose digests are among the others' too. */
function shared(some: readonly Sibling[], others: readonly Sibling[]): readonly number[] {
  const digests = new Set(others.map(({ digest }) => digest));
  return some.flatMap(({ digest }, at) => (digests.has(digest) ? [at] : []));
}

/** A chapter continues the one with which it shares most, as far as that keeps the order. */
function alikePairs(before: readonly Sibling[], after: readonly Sibling[], gap: Gap): readonly Pair[] {
  const owners = new Map<string, number>();
  for (let at = gap.before[0]; at < gap.before[1]; at++) {
    for (const part of before[at]?.parts ?? []) owners.set(part, at);
  }
  const pairs: Pair[] = [];
  for (let to = gap.after[0]; to < gap.after[1]; to++) {
    const from = mostFrequent((after[to]?.parts ?? []).map((part) => owners.get(part)));
    if (from !== undefined && from > (pairs.at(-1)?.[0] ?? -1)) pairs.push([from, to]);
  }
  return pairs;
}

function mostFrequent(indices: readonly (number | undefined)[]): number | undefined {
  const times = new Map<number, number>();
  for (const index of indices) if (index !== undefined) times.set(index, (times.get(index) ?? 0) + 1);
  return [...times].toSorted(([, a], [, b]) => b - a)[0]?.[0];
}

/** What lies between the pairs, on both sides. */
function gapsBetween({ before, after }: Gap, pairs: readonly Pair[]): readonly Gap[] {
  const end: Pair = [before[1], after[1]];
  return [...pairs, end].map(([from, to], at) => {
    const [lastFrom, lastTo] = pairs[at - 1] ?? [before[0] - 1, after[0] - 1];
    return { before: [lastFrom + 1, from], after: [lastTo + 1, to] };
  });
}

function inOrder({ before, after }: Gap): readonly Pair[] {
  const length = Math.min(before[1] - before[0], after[1] - after[0]);
  return Array.from({ length }, (_, at) => [before[0] + at, after[0] + at]);
}

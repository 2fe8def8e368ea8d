import { isDeepStrictEqual } from "node:util";
import type { Case } from "./case.ts";
import type { Evaluation } from "./evaluate.ts";
import { caseScore } from "./fields.ts";
import { estimateDifference, meanOf } from "./intervals.ts";

/** What can be compared: an evaluation, whether it was just made or stored before. */
export type Comparable = Omit<Evaluation, "fields">;

/** One field in both, over the examples that both have. */
export type FieldDifference = {
  readonly field: string;
  readonly pairs: number;
  readonly before: number;
  readonly after: number;
  /** After less before, with its 95 % interval. */
  readonly difference: number;
  readonly low: number;
  readonly high: number;
  /** Does the interval leave out 0? */
  readonly clear: boolean;
};

export type CaseDifference = { readonly name: string; readonly before: number; readonly after: number };

export type Comparison = {
  /** What made the two differ, in words: versions, models, prompts, code, examples, measures. */
  readonly changed: readonly { readonly what: string; readonly before: string; readonly after: string }[];
  readonly fields: readonly FieldDifference[];
  readonly better: readonly CaseDifference[];
  readonly worse: readonly CaseDifference[];
  /** How many examples are in one only, or expect something else in the other: they are not compared. */
  readonly unpaired: number;
};

/** Compares two evaluations example by example: those of one name that expect the same in both. */
export function compare(before: Comparable, after: Comparable): Comparison {
  const pairs = pairsOf(before.cases, after.cases);
  const differences = pairs.map(([one, other]) => ({
    name: other.name,
    before: caseScore(one),
    after: caseScore(other),
  }));
  return {
    changed: changes(before, after),
    fields: fieldsOf(pairs),
    better: differences.filter(({ before, after }) => after > before),
    worse: differences.filter(({ before, after }) => after < before),
    unpaired: before.cases.length + after.cases.length - 2 * pairs.length,
  };
}

type Pair = readonly [before: Case, after: Case];

function pairsOf(before: readonly Case[], after: readonly Case[]): readonly Pair[] {
  const byName = new Map(before.map((one) => [one.name, one]));
  return after.flatMap((other): readonly Pair[] => {
    const one = byName.get(other.name);
    return one && isDeepStrictEqual(one.expected, other.expected) ? [[one, other]] : [];
  });
}

function fieldsOf(pairs: readonly Pair[]): readonly FieldDifference[] {
  const fields = new Set(pairs.flatMap(([one]) => Object.keys(one.expected)));
  return [...fields].map((field) => {
    const scores = pairs
      .map(([one, other]) => [one.scores[field]?.score, other.scores[field]?.score] as const)
      .filter((pair): pair is readonly [number, number] => pair.every((score) => score !== undefined));
    const { mean, low, high } = estimateDifference(scores.map(([one, other]) => other - one));
    return {
      field,
      pairs: scores.length,
      before: meanOf(scores.map(([one]) => one)),
      after: meanOf(scores.map(([, other]) => other)),
      difference: mean,
      low,
      high,
      clear: low > 0 || high < 0,
    };
  });
}

const stamped = [
  ["pipeline", "pipeline"],
  ["pipeline version", "pipeline_version"],
  ["model", "model"],
  ["prompts", "prompt_hash"],
  ["code", "fingerprint"],
  ["examples", "data_hash"],
  ["measures", "measures"],
] as const satisfies readonly (readonly [string, keyof Comparable])[];

function changes(before: Comparable, after: Comparable): Comparison["changed"] {
  return stamped
    .filter(([, field]) => !isDeepStrictEqual(before[field], after[field]))
    .map(([what, field]) => ({ what, before: written(before[field]), after: written(after[field]) }));
}

function written(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}

import type { Measure } from "../pipeline.ts";
import type { Case } from "./case.ts";
import { type Estimate, estimate, meanOf } from "./intervals.ts";
import type { Score } from "./score.ts";

/** How right one field was over all examples that expect something of it. */
export type FieldScore = Estimate & {
  readonly field: string;
  readonly measure: Measure["kind"];
  readonly examples: number;
  /** How far numbers were off, on average. */
  readonly off?: number | undefined;
  /** Of sets: over all examples, the share of the items given that were expected, and the other way round. */
  readonly precision?: number | undefined;
  readonly recall?: number | undefined;
};

export function fieldScores(
  measures: Readonly<Record<string, Measure>>,
  cases: readonly Case[],
): readonly FieldScore[] {
  return Object.entries(measures).map(([field, { kind }]) => {
    const scores = cases.flatMap(({ scores }) => scores[field] ?? []);
    const means = estimate(scores.map(({ score }) => score));
    return { field, measure: kind, examples: scores.length, ...means, ...details(scores) };
  });
}

function details(scores: readonly Score[]): Pick<FieldScore, "off" | "precision" | "recall"> {
  const offs = scores.flatMap(({ off }) => off ?? []);
  const both = total(scores, "both");
  const sets = scores.some((score) => score.both !== undefined);
  return {
    ...(offs.length > 0 && { off: meanOf(offs) }),
    ...(sets && {
      precision: share(both, total(scores, "given")),
      recall: share(both, total(scores, "expected")),
    }),
  };
}

function total(scores: readonly Score[], of: "both" | "given" | "expected"): number {
  return scores.reduce((sum, score) => sum + (score[of] ?? 0), 0);
}

/** Of nothing, all is right. */
function share(part: number, whole: number): number {
  return whole === 0 ? 1 : part / whole;
}

/** An example's mean over its fields: what tells the worst. */
export function caseScore({ scores }: Pick<Case, "scores">): number {
  return meanOf(Object.values(scores).map(({ score }) => score));
}

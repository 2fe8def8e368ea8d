import { LoregraphError } from "../../errors.ts";
import type { Evaluation } from "../../eval/evaluate.ts";
import type { Example } from "../../eval/examples.ts";

/** The least score of a field, or of each where none is named. */
export type Threshold = { readonly field: string | undefined; readonly least: number };

/** Reads `0.8`, `mood=0.7` or several of these between commas. Throws INPUT_INVALID. */
export function readThresholds(written: string): readonly Threshold[] {
  return written.split(",").map((part) => {
    const [, field, score = ""] = /^(?:([^=]+)=)?(.*)$/.exec(part.trim()) ?? [];
    const least = Number(score);
    if (score.trim() !== "" && least >= 0 && least <= 1) return { field, least };
    throw new LoregraphError(
      "INPUT_INVALID",
      `expected --threshold to be a score from 0 to 1, or field=score, got: ${written}`,
    );
  });
}

/** Throws INPUT_INVALID for a threshold of a field that no example measures: before a model is paid for it. */
export function assertMeasured(thresholds: readonly Threshold[], examples: readonly Example[]): void {
  const measured = new Set(examples.flatMap(({ expected }) => Object.keys(expected)));
  const unknown = thresholds.find(({ field }) => field !== undefined && !measured.has(field));
  if (!unknown) return;
  throw new LoregraphError(
    "INPUT_INVALID",
    `expected --threshold to name a field that the examples expect (${[...measured].join(", ")}), got: ${unknown.field}`,
  );
}

/** What falls short of a threshold, a line each. */
export function unmet({ fields }: Evaluation, thresholds: readonly Threshold[]): readonly string[] {
  const named = new Set(thresholds.map(({ field }) => field));
  return thresholds.flatMap(({ field, least }) =>
    fields
      // A field's own threshold holds for it in place of the one for all.
      .filter((one) => (field === undefined ? !named.has(one.field) : one.field === field))
      .filter(({ mean }) => mean < least)
      .map((one) => `${one.field}: expected a score of ${least} at least, got: ${one.mean.toFixed(3)}`),
  );
}

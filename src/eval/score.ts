import { isDeepStrictEqual } from "node:util";
import type { Measure } from "../pipeline.ts";

/** How right one field of one answer is, from 0 to 1, and what else its measure tells. */
export type Score = {
  readonly score: number;
  /** How far a number is off. */
  readonly off?: number | undefined;
  /** Of sets: how many items were expected, given, and both. */
  readonly expected?: number | undefined;
  readonly given?: number | undefined;
  readonly both?: number | undefined;
  /** What a judge said. */
  readonly why?: string | undefined;
};

/** The measures that need nobody to judge. */
export type Computed = Exclude<Measure, { kind: "judge" }>;

/** Scores a value against what was expected. Null and an absent value are the same. */
export function scoreOf(measure: Computed, expected: unknown, given: unknown): Score {
  switch (measure.kind) {
    case "exact":
      return yesOrNo(equal(counting(expected, measure.by), counting(given, measure.by)));
    case "setF1":
      return setF1(items(expected, measure.by), items(given, measure.by));
    case "numeric":
      return numeric(expected, given, measure.within);
    case "wordF1":
      return { score: f1Of(words(expected), words(given)) };
    case "partial":
      return yesOrNo(holds(given, expected));
  }
}

function yesOrNo(right: boolean): Score {
  return { score: right ? 1 : 0 };
}

function equal(one: unknown, other: unknown): boolean {
  return isDeepStrictEqual(one ?? null, other ?? null);
}

/** What counts of a value: all of it, or one field of each of its items. An item that has none stands for itself. */
function counting(value: unknown, by: string | undefined): unknown {
  if (by === undefined || !Array.isArray(value)) return value;
  return value.map((item: unknown) => (isRecord(item) ? (item[by] ?? null) : item));
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function items(value: unknown, by: string | undefined): ReadonlySet<string> {
  const list = value === null || value === undefined ? [] : [counting(value, by)].flat();
  return new Set(
    list.map((item: unknown) => (typeof item === "string" ? folded(item) : JSON.stringify(item))),
  );
}

function folded(text: string): string {
  return text.normalize("NFKC").toLowerCase().replace(/\s+/g, " ").trim();
}

function setF1(expected: ReadonlySet<string>, given: ReadonlySet<string>): Score {
  const both = expected.intersection(given).size;
  const counts = { expected: expected.size, given: given.size, both };
  return { score: f1(counts), ...counts };
}

type Counts = { readonly expected: number; readonly given: number; readonly both: number };

/** The harmonic mean of precision and recall: 2 · both / (expected + given). Of two empty sets it is 1. */
function f1({ expected, given, both }: Counts): number {
  return expected + given === 0 ? 1 : (2 * both) / (expected + given);
}

function numeric(expected: unknown, given: unknown, within: number): Score {
  if (typeof expected !== "number" || typeof given !== "number") return yesOrNo(equal(expected, given));
  const off = Math.abs(expected - given);
  // So that 0.3 is within 0.1 of 0.2, though their difference as floats is a little more.
  return { score: off <= within + 1e-9 ? 1 : 0, off };
}

/** As evaluations of question answering score a span: each word counts as often as it stands in both. */
function f1Of(expected: readonly string[], given: readonly string[]): number {
  const left = [...given];
  const both = expected.filter((word) => {
    const at = left.indexOf(word);
    if (at >= 0) left.splice(at, 1);
    return at >= 0;
  }).length;
  return f1({ expected: expected.length, given: given.length, both });
}

function words(value: unknown): readonly string[] {
  return folded(String(value ?? "")).match(/[\p{L}\p{M}\p{N}]+/gu) ?? [];
}

function holds(given: unknown, expected: unknown): boolean {
  if (Array.isArray(expected))
    return (
      Array.isArray(given) &&
      given.length === expected.length &&
      expected.every((item, at) => holds(given[at], item))
    );
  if (!isRecord(expected)) return equal(given, expected);
  return isRecord(given) && Object.entries(expected).every(([field, value]) => holds(given[field], value));
}

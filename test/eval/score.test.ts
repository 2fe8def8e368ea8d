import { expect, test } from "vitest";
import { z } from "zod";
import { estimate, estimateDifference } from "../../src/eval/intervals.ts";
import { measureOf } from "../../src/eval/measures.ts";
import { type Computed, scoreOf } from "../../src/eval/score.ts";

test.each<[Computed, unknown, unknown, number]>([
  [{ kind: "exact" }, "tense", "tense", 1],
  [{ kind: "exact" }, "tense", "Tense", 0],
  [{ kind: "exact" }, null, undefined, 1],
  [{ kind: "exact" }, ["a", "b"], ["b", "a"], 0],
  [{ kind: "exact", by: "mood" }, ["tense"], [{ mood: "tense", lines: 3 }], 1],
  [{ kind: "setF1" }, ["a", "b"], ["B", " a"], 1],
  [{ kind: "setF1" }, ["a", "b", "c"], ["a"], 0.5],
  [{ kind: "setF1" }, [], [], 1],
  [{ kind: "setF1" }, [], ["a"], 0],
  [{ kind: "setF1" }, ["a"], undefined, 0],
  [{ kind: "setF1", by: "trait" }, ["brave"], [{ trait: "brave" }, { trait: "sly" }], 2 / 3],
  [{ kind: "numeric", within: 0.1 }, 0.2, 0.3, 1],
  [{ kind: "numeric", within: 0.1 }, 0.2, 0.31, 0],
  [{ kind: "numeric", within: 1 }, 0, null, 0],
  [{ kind: "wordF1" }, "Get out of my house!", "get out", 4 / 7],
  [{ kind: "wordF1" }, "no no", "no", 2 / 3],
  [{ kind: "wordF1" }, "", null, 1],
  [{ kind: "partial" }, { a: { b: 1 } }, { a: { b: 1, c: 2 }, d: 3 }, 1],
  [{ kind: "partial" }, [{ a: 1 }], [{ a: 1 }, { a: 1 }], 0],
  [{ kind: "partial" }, [{ a: 1 }], [{ a: 2 }], 0],
])("%j of %j against %j is %d", (measure, expected, given, score) => {
  expect(scoreOf(measure, expected, given).score).toBeCloseTo(score, 10);
});

test("a number tells how far it is off, a set how much of it is right", () => {
  expect(scoreOf({ kind: "numeric", within: 0.1 }, 0.5, -0.25)).toEqual({ score: 0, off: 0.75 });
  expect(scoreOf({ kind: "setF1" }, ["a", "b"], ["b", "c", "d"])).toMatchObject({
    expected: 2,
    given: 3,
    both: 1,
  });
});

test("a field without a measure is measured by its type", () => {
  const output = z.object({
    mood: z.enum(["a", "b"]).nullable(),
    sure: z.boolean(),
    lines: z.int(),
    valence: z.number().min(-1).max(1),
    quote: z.string().optional(),
    names: z.array(z.string()).default([]),
    parts: z.array(z.object({ a: z.string() })),
    whole: z.object({ a: z.string() }),
  });
  const kinds = Object.keys(output.shape).map((field) => measureOf({ measures: {}, output }, field).kind);

  expect(kinds).toEqual(["exact", "exact", "exact", "numeric", "wordF1", "setF1", "partial", "partial"]);
  expect(measureOf({ measures: { mood: { kind: "wordF1" } }, output }, "mood").kind).toBe("wordF1");
});

test("a share has Wilson's interval, which holds back where all or none is right", () => {
  // 8 of 10: as R's binom.confint(8, 10, methods = "wilson") gives it.
  const eight = estimate([1, 1, 1, 1, 1, 1, 1, 1, 0, 0]);
  expect(eight).toMatchObject({ mean: 0.8, method: "wilson" });
  expect(eight.low).toBeCloseTo(0.4902, 4);
  expect(eight.high).toBeCloseTo(0.9433, 4);
  expect(estimate([1, 1, 1]).low).toBeCloseTo(0.4385, 4);
  expect(estimate([0.5, 0.5])).toMatchObject({ mean: 0.5, method: "wilson" });
  expect(estimate([])).toMatchObject({ mean: 0, low: 0, high: 1 });
});

test("other scores have a bootstrap interval, the same each time and near the normal one", () => {
  const scores = Array.from({ length: 200 }, (_, at) => ((at * 37) % 101) / 100);
  const got = estimate(scores);
  const deviation = Math.sqrt(scores.reduce((sum, one) => sum + (one - got.mean) ** 2, 0) / scores.length);
  const half = (1.96 * deviation) / Math.sqrt(scores.length);

  expect(got).toEqual(estimate(scores));
  expect(got.method).toBe("bootstrap");
  expect(got.low).toBeCloseTo(got.mean - half, 1.7);
  expect(got.high).toBeCloseTo(got.mean + half, 1.7);
});

test("a difference is of pairs: one that is the same everywhere is sure", () => {
  expect(estimateDifference([0.25, 0.25, 0.25])).toEqual({ mean: 0.25, low: 0.25, high: 0.25 });
  const mixed = estimateDifference([1, -1, 1, -1, 0, 0, 1, 0]);
  expect(mixed.low).toBeLessThan(0);
  expect(mixed.high).toBeGreaterThan(0);
});

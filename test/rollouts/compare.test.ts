import { describe, expect, test } from "vitest";
import { compare, distanceOf } from "../../src/rollouts/compare.ts";

const fieldOf = (before: unknown, after: unknown) =>
  compare({ before: { it: before }, after: { it: after } })[0];

describe("one field", () => {
  test.each([
    ["the same text", "calm", "calm", { distance: 0 }],
    ["another text", "calm", "tense", { distance: 1 }],
    ["something instead of nothing", null, "calm", { distance: 1 }],
    ["a field that one lacks", undefined, 1, { distance: 1, before: null, after: 1 }],
    ["a number that is a little more", 0.5, 0.75, { distance: 0.25, delta: 0.25 }],
    ["large numbers, by their size", 100, 150, { distance: 1 / 3, delta: 50 }],
    ["numbers on both sides of nothing", -1, 1, { distance: 1, delta: 2 }],
    ["lists in another order", ["a", "b"], ["b", "a"], { distance: 0, added: [], removed: [] }],
    ["lists", ["a", "b"], ["b", "c"], { distance: 2 / 3, added: ['"c"'], removed: ['"a"'] }],
    [
      "a list in which something stands twice",
      ["a"],
      ["a", "a"],
      { distance: 0.5, added: ['"a"'], removed: [] },
    ],
    ["empty lists", [], [], { distance: 0 }],
    ["items whose fields stand in another order", [{ a: 1, b: 2 }], [{ b: 2, a: 1 }], { distance: 0 }],
    ["a list instead of a text", "a", ["a"], { distance: 1 }],
  ])("%s", (_, before, after, difference) => {
    expect(fieldOf(before, after)).toMatchObject(difference);
  });
});

test("objects are compared by their own fields", () => {
  const differences = compare({ before: { at: { start: 1, end: 5 } }, after: { at: { start: 1, end: 6 } } });

  expect(differences.map(({ field, distance }) => [field, distance > 0])).toEqual([
    ["at.end", true],
    ["at.start", false],
  ]);
});

test("outputs are as far from each other as their fields are on average", () => {
  expect(distanceOf(compare({ before: { a: 1, b: "x" }, after: { a: 1, b: "y" } }))).toBe(0.5);
  expect(distanceOf(compare({ before: {}, after: {} }))).toBe(0);
});

import fc from "fast-check";
import { expect, test } from "vitest";
import { alignSiblings } from "../../src/sources/align.ts";

const align = (before: string, after: string) =>
  alignSiblings(siblings(before), siblings(after)).map((at) => at ?? "new");
const siblings = (digests: string) => Array.from(digests, (digest) => ({ digest, parts: [] }));

test.each([
  ["abc", "abc", [0, 1, 2]],
  ["abc", "xabc", ["new", 0, 1, 2]],
  ["abc", "ac", [0, 2]],
  ["abc", "axc", [0, 1, 2]],
  ["abcd", "axycd", [0, 1, "new", 2, 3]],
  ["aaa", "aa", [0, 1]],
  ["", "ab", ["new", "new"]],
])("continues %j in %j as %j", (before, after, expected) => {
  expect(align(before, after)).toEqual(expected);
});

test("continues a changed sibling where its parts went, past an inserted one", () => {
  const before = [{ digest: "b", parts: ["b1", "b2", "b3"] }];
  const after = [
    { digest: "x", parts: ["x1"] },
    { digest: "B", parts: ["b1", "changed", "b3"] },
  ];
  expect(alignSiblings(before, after)).toEqual([undefined, 0]);
});

test("continues each sibling once, in order, and every equal one that only others moved around", () => {
  const digests = fc.string({ unit: fc.constantFrom(..."abcdefgh"), maxLength: 30 });
  fc.assert(
    fc.property(digests, digests, (before, after) => {
      const continued = alignSiblings(siblings(before), siblings(after)).filter((at) => at !== undefined);
      expect(continued).toEqual([...new Set(continued)].toSorted((a, b) => a - b));
      expect(continued.length).toBeGreaterThanOrEqual(before.length === 0 || after.length === 0 ? 0 : 1);
    }),
  );
  fc.assert(
    fc.property(digests, fc.nat(), (before, seed) => {
      const at = before.length === 0 ? 0 : seed % before.length;
      expect(align(before, `${before.slice(0, at)}+${before.slice(at)}`)).toEqual([
        ...Array.from({ length: at }, (_, index) => index),
        "new",
        ...Array.from({ length: before.length - at }, (_, index) => index + at),
      ]);
    }),
  );
});

test("aligns a hundred thousand siblings, equal, all changed or shuffled, in a moment", () => {
  const many = (prefix: string) =>
    Array.from({ length: 100_000 }, (_, at) => ({ digest: `${prefix}${at}`, parts: [] }));
  const start = performance.now();
  expect(alignSiblings(many("a"), many("a")).at(-1)).toBe(99_999);
  expect(alignSiblings(many("a"), many("b")).at(-1)).toBe(99_999);
  expect(alignSiblings(many("a"), many("a").toReversed())).toHaveLength(100_000);
  expect(performance.now() - start).toBeLessThan(5_000);
});

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { countWords, findQuote } from "../../src/content/quote.ts";

const found = (text: string, quote: string, from?: number) => {
  const at = findQuote(text, quote, from);
  return at && text.slice(at.start, at.end);
};

describe("a quote", () => {
  test.each([
    ["white space", "I  don’t\n hate you", "I don’t hate you"],
    ["quotation marks", "He said “sit”, «stay», 「go」 now", 'He said "sit", "stay", "go" now'],
    ["single marks", "the ‘wise’ ‹man›’s ′hat´", "the 'wise' 'man''s 'hat"],
    ["dashes", "Wait — what–ever —— now", "Wait - what-ever -- now"],
    ["ellipses", "Wait… what", "Wait... what"],
  ])("is found however its %s are typed", (_, text, quote) => {
    expect(found(text, quote)).toBe(text.replace(/´$/, ""));
  });

  test("is found without the marks around it", () => {
    expect(found("Then — “Wait…”\n  she said; ‘no’.", `- "Wait..." she said; 'no'`)).toBe(
      "Wait…”\n  she said; ‘no",
    );
    expect(found("“Get out!”", '"Get out!"')).toBe("Get out!");
  });

  test.each(["", " \n", ".", "…", "“”", " . ", "12", "never written"])(
    "is not found when it is %j",
    (quote) => {
      expect(findQuote("“Wait . . . 12,” she said…", quote)).toBeUndefined();
    },
  );

  test.each([
    ["She was unkind.", "kind"],
    ["She was kindly.", "kind"],
    ["Is it late?", "I"],
    ["I can’t bear you.", "I can"],
    ["A cold-hearted man.", "hearted man"],
    ["He was good-natured.", "He was good"],
    ["Élan vital.", "lan vital"],
    ["cafe\u0301 noir", "cafe"],
  ])("is no part of a word: %j does not say %j", (text, quote) => {
    expect(findQuote(text, quote)).toBeUndefined();
  });

  test.each([
    ["Brave Mara’s hand", "Brave Mara"],
    ["I-I hate you", "I hate you"],
    ["Wait—stop—now", "stop"],
    ["_Never_ again", "Never"],
    ["因为我恨你们。", "我恨你"],
    ["unkind, but kind", "kind"],
  ])("is whole words: %j says %j", (text, quote) => {
    expect(found(text, quote)).toBe(quote);
  });

  test("is looked for from an offset on", () => {
    expect(findQuote("brave, and brave", "brave", 1)).toEqual({ start: 11, end: 16 });
    expect(findQuote("unkind", "kind", 2)).toBeUndefined();
  });

  test("cut from a text between words is found, and what is found says the same", () => {
    const words = fc.array(fc.constantFrom("a", "bc", "“", '"', "’", "\n", "…", "—", "é", "🙂"), {
      minLength: 1,
    });
    fc.assert(
      fc.property(words, fc.nat(), fc.nat(), (parts, a, b) => {
        const [from = 0, to = 0] = [a % parts.length, b % parts.length].toSorted((x, y) => x - y);
        const text = parts.join("  ");
        const quote = parts.slice(from, to + 1).join(" ");
        const said = found(text, quote);
        const letters = (of: string) => of.replace(/[^\p{L}🙂]/gu, "");
        if (/\p{L}/u.test(quote)) expect(letters(said ?? "")).toBe(letters(quote));
        else expect(said).toBeUndefined();
      }),
    );
  });

  test("of nothing but marks takes no longer than its length", () => {
    const started = performance.now();
    expect(findQuote("a".repeat(10), `${".".repeat(200_000)}(${".".repeat(200_000)}`)).toBeUndefined();
    expect(performance.now() - started).toBeLessThan(10_000);
  });
});

test.each([
  ["", 0],
  ["… !", 0],
  ["patient", 1],
  ["don’t", 1],
  ["good-natured", 1],
  ["brave Mara", 2],
  ["勇敢", 2],
])("counts the words of %j", (text, words) => {
  expect(countWords(text)).toBe(words);
});

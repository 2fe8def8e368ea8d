import { describe, expect, test } from "vitest";
import { isEnglish, loadEnglish } from "../../src/content/english.ts";

const french = "Les lampes étaient allumées le long du quai et personne n'avait parlé à l'étranger.";

describe("a text is English", () => {
  test.each(["en", "EN", "eng", "English", "en-GB", "en_US"])("where its author says %s", (stated) => {
    expect(isEnglish(french, stated)).toBe(true);
  });

  test.each(["fr", "enm", "Französisch"])("but not where its author says %s", (stated) => {
    expect(isEnglish("The lamps were lit along the quay, and nobody had spoken to him.", stated)).toBe(false);
  });

  test.each([
    ["The lamps were lit along the quay, and nobody had spoken to him.", true],
    [french, false],
    ["“Come in.”", true],
    ["“我恨你！”", false],
    ["12 — 34", false],
  ])("by its looks where nobody says: %j is %s", (text, expected) => {
    expect([isEnglish(text), isEnglish(text, ""), isEnglish(text, null)]).toEqual([
      expected,
      expected,
      expected,
    ]);
  });
});

test("gives the words of each sentence with their places in the text", async () => {
  const text = "Mara\u00a0was\tnot  kind. She left!";

  const sentences = (await loadEnglish())(text);

  expect(sentences.map(({ start, end }) => text.slice(start, end))).toEqual([
    "Mara\u00a0was\tnot  kind.",
    "She left!",
  ]);
  for (const word of sentences.flatMap(({ words }) => words)) {
    expect(text.slice(word.start, word.end)).toBe(word.text);
  }
  expect(sentences[0]?.words.find(({ normal }) => normal === "kind")?.negated).toBe(true);
});

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type ChunkOptions, splitChunks } from "../../src/content/chunk.ts";
import { countTokens } from "../../src/content/tokens.ts";

const split = (text: string, options: Partial<ChunkOptions> = {}) =>
  splitChunks(text, { title: "Book", utterances: [], ...options });
const texts = (text: string, options: Partial<ChunkOptions> = {}) =>
  split(text, options).map((chunk) => chunk.text);
const sentence = "The lamps were lit along the quay before anybody spoke. ";

describe("paths", () => {
  test("are the title where there are no headings", () => {
    expect(split("Once.\n\nTwice.")).toMatchObject([{ path: "Book", text: "Once.\n\nTwice." }]);
  });

  test("are the headings that a chunk stands under", () => {
    const text = "# Book\n\nIntro.\n\n## One\n\nFirst.\n\n### Deep\n\nDeeper.\n\n## Two\n\nSecond.";
    expect(split(text).map(({ path, text }) => [path, text])).toEqual([
      ["Book", "# Book\n\nIntro."],
      ["Book > One", "## One\n\nFirst."],
      ["Book > One > Deep", "### Deep\n\nDeeper."],
      ["Book > Two", "## Two\n\nSecond."],
    ]);
  });

  test("join a heading without text to the deeper one below it", () => {
    expect(split("Part\n====\n\nOne\n---\n\nFirst.", { title: "" })).toMatchObject([
      { path: "Part > One", text: "Part\n====\n\nOne\n---\n\nFirst." },
    ]);
  });

  test("ignore hashes inside a code fence and rules under a sentence", () => {
    const text = "```\n# not a heading\n```\n\nHe left.\n---\nShe stayed.";
    expect(split(text)).toMatchObject([{ path: "Book", text }]);
  });
});

describe("cuts", () => {
  test("fall between paragraphs first", () => {
    const paragraph = sentence.repeat(6).trim();
    const text = [paragraph, paragraph, paragraph].join("\r\n\r\n");
    expect(texts(text, { budget: 100 })).toEqual([paragraph, paragraph, paragraph]);
  });

  test("fall between sentences where a paragraph is too long, even if its lines are wrapped", () => {
    const text = "Mr. Vell waited by\nthe harbour wall. Nobody came, and the\nlamps went out.";
    expect(texts(text, { budget: 13 })).toEqual([
      "Mr. Vell waited by\nthe harbour wall.",
      "Nobody came, and the\nlamps went out.",
    ]);
  });

  test("fall between words where a sentence is too long", () => {
    expect(texts("one two three four five six", { budget: 2 })).toEqual([
      "one two",
      "three four",
      "five six",
    ]);
  });

  test("fall between characters where a word is too long, never inside one", () => {
    const family = "👩‍👩‍👧";
    for (const text of texts(family.repeat(40), { budget: 40 })) {
      expect(text.replaceAll(family, "")).toBe("");
    }
  });

  test("fall between code points where one character alone is above the budget", () => {
    const zalgo = `e${"\u0301\u0302".repeat(2_000)}`;
    const chunks = split(zalgo, { budget: 64 });
    expect(chunks.map((chunk) => chunk.text).join("")).toBe(zalgo);
    expect(Math.max(...chunks.map((chunk) => chunk.tokens))).toBeLessThanOrEqual(64);
  });
});

describe("chunks", () => {
  test("say what they are made of", () => {
    const text = `${"“Go away at once, you.” ".repeat(12).trim()}\n\n${sentence.repeat(6)}`;
    const utterances = [{ start: 0, end: text.indexOf("\n") }];
    expect(split(text, { budget: 100, utterances }).map((chunk) => chunk.content_kind)).toEqual([
      "dialogue",
      "narration",
    ]);
  });

  test("count the tokens of the text as it is stored", () => {
    for (const chunk of split(`\t${sentence.repeat(40)}\r\n`))
      expect(chunk.tokens).toBe(countTokens(chunk.text));
  });

  test("are none where there is nothing to read", () => {
    expect(split(" \r\n\t\u3000")).toEqual([]);
  });

  test("stay within the budget where words cost more together than alone", () => {
    expect(countTokens("1 2 3")).toBeGreaterThan(3 * countTokens("1"));
    for (const { tokens } of split("1 ".repeat(300), { budget: 20 })) expect(tokens).toBeLessThanOrEqual(20);
  });

  test("hold every character once, in order, within the budget, whatever the text", () => {
    const unit = fc.constantFrom(
      "# ",
      "\n",
      "\n\n",
      "\r\n",
      " ",
      "\t",
      "word",
      "Dr.",
      "End. ",
      "鵝",
      "。",
      "🦢",
      "e\u0301",
      "---\n",
      "```\n",
    );
    const anyText = fc.oneof(fc.string({ unit: "grapheme" }), fc.string({ unit, maxLength: 300 }));
    fc.assert(
      fc.property(anyText, fc.integer({ min: 16, max: 64 }), (text, budget) => {
        let end = 0;
        for (const chunk of split(text, { budget })) {
          expect(chunk.text).toBe(text.slice(chunk.start, chunk.end));
          expect(chunk.text.trim()).toBe(chunk.text);
          expect(text.slice(end, chunk.start).trim()).toBe("");
          expect(chunk.tokens).toBeLessThanOrEqual(budget);
          expect(chunk.text.isWellFormed()).toBe(true);
          end = chunk.end;
        }
        expect(text.slice(end).trim()).toBe("");
      }),
    );
  });
});

describe("countTokens", () => {
  test("takes a model's special tokens for text", () => {
    expect(countTokens("<|endoftext|>")).toBeGreaterThan(1);
  });

  test("counts an endless word in bounded time", () => {
    expect(countTokens("鵝".repeat(64_000))).toBeGreaterThan(32_000);
  });
});

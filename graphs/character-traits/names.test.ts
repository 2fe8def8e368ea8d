import { describe, expect, test } from "vitest";
import { findMentions, namesOf } from "./names.ts";

describe("a character is looked up", () => {
  test.each([
    ["Mara Voss", ["Mara Voss", "Mara"]],
    ["Dr. Mara Voss", ["Dr. Mara Voss", "Mara Voss", "Dr. Voss", "Mara"]],
    ["Mara Voss (the Pilot)", ["Mara Voss (the Pilot)", "Mara Voss", "Mara"]],
    ["Elena of Rivermoor", ["Elena of Rivermoor", "Elena"]],
    ["Aunt Polly", ["Aunt Polly", "Polly"]],
    ["Captain Hale", ["Captain Hale"]],
    ["The Grey Fox", ["The Grey Fox"]],
    ["", []],
  ])("as %j", (title, expected) => {
    expect(namesOf({ title, metadata: {} })).toEqual(expected);
  });

  test("by its aliases, once each, whatever else the metadata hold", () => {
    const named = { title: "Mara", metadata: { aliases: ["the Pilot", " Mara ", ""] } };

    expect(namesOf(named)).toEqual(["Mara", "the Pilot"]);
    expect(namesOf({ title: "Mara", metadata: { aliases: "the Pilot" } })).toEqual(["Mara"]);
  });
});

describe("a name", () => {
  test.each([
    ["stands in capitals and over a line's end", "MARA slept. Mara\n Voss woke.", ["MARA", "Mara\n Voss"]],
    ["is a whole word", "Samara and Marat left Mara's boat.", ["Mara"]],
    ["in lower case is another word", "A mara ran.", []],
    ["with another family name is somebody else", "Mara Quinn left; Mara Voss stayed.", ["Mara Voss"]],
    ["that ends a sentence is still the character's", "It was Mara. Tobin left.", ["Mara"]],
  ])("%s", (_, text, expected) => {
    const spans = findMentions(text, ["Mara Voss", "Mara"]);

    expect(spans.map(({ start, end }) => text.slice(start, end))).toEqual(expected);
  });

  test("with another title is a relative's", () => {
    const text = "Mr. Hale met Miss Hale. Hale laughed.";

    const spans = findMentions(text, ["Mr. Hale", "Hale"]);

    expect(spans.map(({ start, end }) => text.slice(start, end))).toEqual(["Mr. Hale", "Hale"]);
  });

  test("may hold what a pattern would read as signs", () => {
    expect(findMentions("R2-D2 (old) beeped.", ["R2-D2 (old)"])).toEqual([{ start: 0, end: 11 }]);
  });

  test("with an article begins a sentence too", () => {
    expect(findMentions("The pilot slept.", ["the pilot"])).toHaveLength(1);
  });
});

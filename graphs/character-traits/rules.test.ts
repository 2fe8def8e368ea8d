import { describe, expect, test } from "vitest";
import { claimsByRules } from "./rules.ts";

const names = ["Mara Voss", "Mara"];

async function claims(text: string, own = false) {
  const passage = {
    source_type: "scene",
    source_id: "00000000-0000-4000-8000-000000000001",
    path: "",
    text,
    start: 0,
    end: text.length,
  } as const;
  return claimsByRules(names, [{ number: 0, own, passage }]);
}

const traits = async (text: string, own = false) =>
  (await claims(text, own)).map(({ trait }) => trait).toSorted();

describe("says so", () => {
  test.each([
    ["Mara was stubborn.", ["stubborn"]],
    ["Mara Voss has always been a proud, brave and rather vain woman.", ["brave", "proud", "vain"]],
    ["Mara, who was truthful, told them.", ["truthful"]],
    ["Mara’s brave, they say.", ["brave"]],
    ["“Mara is a coward,” said Tobin.", ["cowardly"]],
    ["Mara was brave but not kind.", ["brave"]],
    ["Mara was too proud to ask.", ["proud"]],
    ["MARA IS STUBBORN.", ["stubborn"]],
    ["Mara was good-natured and absent-minded.", ["absent-minded", "good-natured"]],
    ["Mara seemed shy.", ["shy"]],
    ["The stubborn old Mara shook her head.", ["stubborn"]],
    ["Brave, kind Mara went first.", ["brave", "kind"]],
    ["Mara, proud and quick, turned away.", ["proud"]],
    ["Mara, a proud woman, turned away.", ["proud"]],
    ["Proud and stubborn, Mara turned away.", ["proud", "stubborn"]],
    ["“You’re so stubborn, Mara!”", ["stubborn"]],
    ["Mara smiled. She was generous.", ["generous"]],
    ["Others shook at the thought, but Mara was brave.", ["brave"]],
  ])("%s", async (text, expected) => {
    expect(await traits(text)).toEqual(expected);
  });
});

describe("does not say so", () => {
  test.each([
    ["Mara was never cruel."],
    ["Mara wasn’t cruel, and she was not greedy."],
    ["Mara was neither proud nor vain."],
    ["Nobody thought Mara was cruel."],
    ["If Mara were brave, she would go."],
    ["Was Mara brave?"],
    ["Tobin believed that Mara was vain."],
    ["Mara said that Tobin was brave."],
    ["Mara’s brother was cruel."],
    ["Mara’s brave brother laughed."],
    ["The prejudice against Mara was cruel."],
    ["Mara and the cruel king laughed."],
    ["Mara laughed, and brave Tobin sang."],
    ["Mara met Tobin. She was proud, and he was vain."],
    ["Mara smiled at the old man. He was generous."],
    ["Mara smiled at him. He was generous."],
    ["“Tell Mara,” he said. He was generous."],
    ["Mara was proud of the boat, and careful to lock it."],
    ["Mara was kind of tired."],
    ["In vain Mara called."],
    ["“No,” said Mara, a cruel smile on her lips."],
    ["They reached Mara, where a wise man lived."],
    ["Mara was careful not to wake him."],
    ["Somebody like Mara, and a charming one, would know."],
    ["Mara was determined."],
    ["Samara was proud."],
    ["It was a cruel winter, and Mara was cold."],
    ["“You are stubborn,” said Mara."],
    ["The town thanked the Right Honourable Mara Voss."],
  ])("%s", async (text) => {
    expect(await traits(text)).toEqual([]);
  });
});

describe("the character's own sheet", () => {
  test.each([
    ["Traits: patient, curious", ["curious", "patient"]],
    ["**Personality:** very stubborn; never cruel", ["stubborn"]],
    ["## Traits\n\n- patient\n- fond of bees\n\n## Wants\n\n- to be brave", ["fond of bees", "patient"]],
    ["Flaws: cowardice, jealousy", ["cowardly", "envious"]],
    ["Wants: to be brave\nFears: a cruel sea", []],
    ["Traits: patient\n\nShe is stubborn, and she is kind.", ["kind", "patient", "stubborn"]],
    ["Personality: hides what nobody must see", []],
  ])("%j", async (text, expected) => {
    expect(await traits(text, true)).toEqual(expected);
  });
});

test("quotes words that stand where it says", async () => {
  const text = "“Well,”\tsaid Tobin — and Mara, proud and kind, laughed.\n\n“You are stubborn, Mara.”";

  const found = await claims(text);

  expect(found.map(({ from, quote }) => text.startsWith(quote, from))).toEqual([true, true, true]);
});

test("stops between passages when its signal fires", async () => {
  const numbered = { number: 0, own: true, passage: { text: "Traits: brave" } };

  await expect(claimsByRules(names, [numbered as never], AbortSignal.abort())).rejects.toThrow(/abort/i);
});

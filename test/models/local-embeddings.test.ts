import fc from "fast-check";
import { expect, test } from "vitest";
import { sha256 } from "../../src/hash.ts";
import { localEmbedding } from "../../src/models/local-embeddings.ts";
import { packVector } from "../../src/pipeline.ts";

const embed = localEmbedding();

/** Cosine similarity; the vectors have length 1. */
function nearness(a: string, b: string): number {
  const [left, right] = [embed(a), embed(b)];
  return left.reduce((sum, value, at) => sum + value * (right[at] ?? 0), 0);
}

test.each<[string, string, string]>([
  [
    "The old king was walking through his gardens at night.",
    "At night an old king walks in the garden.",
    "She baked three loaves of bread for the market.",
  ],
  ["The dragons attacked the villages", "a dragon attacks a village", "the sailors counted their coins"],
  ["Die Zauberin verwandelte den Prinzen", "Verwandlung eines Prinzen", "Der Kaufmann verkaufte Mehl"],
  ["Волшебница превратила принца в лягушку", "превращение принца", "Купец продавал муку на рынке"],
  ["राजा जंगल में शिकार करता था", "जंगल में राजा का शिकार", "उसने बाज़ार में रोटी बेची"],
  ["愚公决定移走门前的两座大山", "移走两座大山的愚公", "她在市场上卖了三条鱼"],
  ["王様は夜の庭を歩いていた", "夜の庭を歩く王様", "彼女は市場で魚を売った"],
])("finds %j nearer to %j than to %j", (text, paraphrase, unrelated) => {
  expect(nearness(text, paraphrase)).toBeGreaterThan(nearness(text, unrelated) + 0.2);
});

test.each([
  ["enchantment", "enchanted", "blacksmith"],
  ["fisherman", "fishermen", "gardener"],
  ["castle", "castles", "mirror"],
  ["verwandelt", "verwandelte", "Kaufmann"],
])("finds %s nearer to %s than to %s", (word, form, other) => {
  expect(nearness(word, form)).toBeGreaterThan(Math.abs(nearness(word, other)) + 0.2);
});

test("cares little for words that every text has", () => {
  expect(nearness("What did the fisherman do with his net?", "fisherman net")).toBeGreaterThan(0.9);
});

test("does not care for case, nor for how a letter is encoded", () => {
  expect(nearness("CAFÉ", "cafe\u0301")).toBeCloseTo(1, 6);
});

test("makes the same vector on every machine", () => {
  const vector = embed("Once upon a time there was a wolf: 愚公移山.");

  expect(sha256(packVector(vector))).toBe("cee14410eb0f06a6e014e78991e79d6efb95d47cdedbbfe730bb3240985f942a");
});

test("makes vectors of length 1 that 32-bit floats hold exactly, whatever the text", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 200 }), (text) => {
      const vector = embed(text);
      expect(Math.hypot(...vector)).toBeCloseTo(1, 5);
      expect(Array.from(Float32Array.from(vector))).toEqual(vector);
    }),
  );
});

test.each([
  ["a word", "a1"],
  ["a sign", "-#"],
])("takes %s of a million characters in its stride", (_, unit) => {
  const started = performance.now();

  expect(Math.hypot(...localEmbedding()(unit.repeat(500_000)))).toBeCloseTo(1, 5);
  expect(performance.now() - started).toBeLessThan(2_000);
});

test("makes a vector of the same text whatever was embedded before", () => {
  const fresh = localEmbedding();
  for (let at = 0; at < 25_000; at += 1_000) fresh(words(at, at + 1_000));

  expect(fresh("the wolf and the girl")).toEqual(localEmbedding()("the wolf and the girl"));
});

function words(from: number, to: number): string {
  return Array.from({ length: to - from }, (_, at) => `word${from + at}`).join(" ");
}

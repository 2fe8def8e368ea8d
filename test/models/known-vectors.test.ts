import { expect, test } from "vitest";
import { sha256 } from "../../src/hash.ts";
import type { Embedder, Vector } from "../../src/models/embeddings.ts";
import { embedUnknown, type KnownVectors } from "../../src/models/known-vectors.ts";
import { usageRecorder } from "../../src/models/usage.ts";

/** An embedder that notes what it was asked. A text's vector is its length. */
function setup(known: Readonly<Record<string, Vector>> = {}) {
  const embedded: (readonly string[])[] = [];
  const asked: (readonly string[])[] = [];
  const embedder: Embedder = {
    model: "lengths",
    dimensions: 1,
    async embed(texts) {
      embedded.push(texts);
      return texts.map((text) => [text.length]);
    },
  };
  const lookup: KnownVectors = async (hashes) => {
    asked.push(hashes);
    const all = new Map(Object.entries(known).map(([text, vector]) => [sha256(text), vector]));
    return new Map(hashes.flatMap((hash) => (all.has(hash) ? [[hash, all.get(hash) ?? []] as const] : [])));
  };
  const usage = usageRecorder();
  return { embed: embedUnknown(embedder, lookup, { usage, fetch }), embedded, asked, usage };
}

test("embeds only what is not known, and keeps the texts' order", async () => {
  const { embed, embedded, usage } = setup({ wolf: [70], girl: [71] });

  expect(await embed(["axe", "wolf", "grandmother", "girl"])).toEqual([[3], [70], [11], [71]]);
  expect(embedded).toEqual([["axe", "grandmother"]]);
  expect(usage.total()).toMatchObject({ vectors_reused: 2 });
});

test("embeds a text once that comes twice", async () => {
  const { embed, embedded, usage } = setup();

  expect(await embed(["wolf", "axe", "wolf"])).toEqual([[4], [3], [4]]);
  expect(embedded).toEqual([["wolf", "axe"]]);
  expect(usage.total()).toMatchObject({ vectors_reused: 0 });
});

test("looks texts up by the hash of exactly what is embedded", async () => {
  const { embed, asked } = setup();

  await embed(["wolf", "wolf "]);

  expect(asked).toEqual([[sha256("wolf"), sha256("wolf ")]]);
});

test("embeds nothing where all is known, and asks nothing for no texts", async () => {
  const { embed, embedded, asked } = setup({ wolf: [70] });

  expect(await embed(["wolf"])).toEqual([[70]]);
  expect(await embed([])).toEqual([]);
  expect(embedded.flat()).toEqual([]);
  expect(asked).toHaveLength(1);
});

test("tells the model and its dimensions", () => {
  const { model, dimensions } = setup().embed;

  expect({ model, dimensions }).toEqual({ model: "lengths", dimensions: 1 });
});

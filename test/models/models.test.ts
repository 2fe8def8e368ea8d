import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { sha256 } from "../../src/hash.ts";
import { openModels } from "../../src/models/models.ts";
import { completion, embeddings, localSettings, serverAnswering, settingsFor } from "./server.ts";

const nothingKnown = async () => new Map<string, readonly number[]>();

function fileWith(text: string): string {
  const folder = mkdtempSync(join(tmpdir(), "prices-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const path = join(folder, "prices.json");
  writeFileSync(path, text);
  return path;
}

async function bothApis() {
  return await serverAnswering(({ path }) =>
    path === "/v1/embeddings" ? embeddings([[0.5, 0.5]]) : completion({ content: "All is well" }),
  );
}

test("uses local models where neither key nor base URL is set", async () => {
  const models = openModels(localSettings);
  const { model, embed, usage } = models.lend({ known: nothingKnown });

  expect(models).toMatchObject({
    chatName: undefined,
    embeddingName: "local-subword-256",
    local: true,
  });
  expect(model).toBeUndefined();
  expect(await embed(["wolf"])).toHaveLength(1);
  expect(usage()).toMatchObject({ model_calls: 0, embedding_calls: 1, cost_usd: 0 });
});

test("names the configured models", async () => {
  const { url } = await bothApis();

  expect(openModels(settingsFor(url))).toMatchObject({
    chatName: "gpt-4o-mini",
    embeddingName: "text-embedding-3-small",
    local: false,
  });
});

test("counts each attempt for itself, chat and embeddings together", async () => {
  const { url } = await bothApis();
  const models = openModels(settingsFor(url, { embeddingModel: "two-wide", prices: fileWith(prices) }));
  const one = models.lend({ known: async () => new Map([[sha256("girl"), [0, 1]]]) });
  const other = models.lend({ known: nothingKnown });

  await Promise.all([
    one.model?.invoke("Is all well?"),
    other.model?.invoke("And now?"),
    other.model?.invoke("Still?"),
  ]);
  await one.embed(["wolf", "girl"]);

  expect(one.usage()).toEqual({
    model_calls: 1,
    embedding_calls: 1,
    tokens_in: 1_000,
    tokens_cached: 200,
    tokens_out: 100,
    embedding_tokens: 2,
    vectors_reused: 1,
    cost_usd: expect.closeTo((1_000 * 1 + 100 * 2 + 2 * 3) / 1e6, 12),
  });
  expect(other.usage()).toMatchObject({ model_calls: 2, embedding_calls: 0, vectors_reused: 0 });
});

test("names the models that have no price, and counts their calls without a cost", async () => {
  const { url } = await bothApis();
  const models = openModels(settingsFor(url, { chatModel: "llama", embeddingModel: "two-wide" }));
  const { model, embed, usage } = models.lend({ known: nothingKnown });

  await model?.invoke("Is all well?");
  await embed(["wolf"]);

  expect(models.unpriced([])).toEqual(["llama", "two-wide"]);
  const pipelines = [{ models: ["gpt-4o", "mistral"] }, {}, { models: ["mistral", "llama"] }];
  expect(models.unpriced(pipelines)).toEqual(["llama", "two-wide", "mistral"]);
  expect(usage()).toMatchObject({ model_calls: 1, tokens_in: 1_000, embedding_calls: 1, cost_usd: 0 });
});

test("prices a dated snapshot as the model it is of", async () => {
  const { url } = await bothApis();

  expect(openModels(settingsFor(url, { chatModel: "gpt-4o-mini-2024-07-18" })).unpriced([])).toEqual([]);
});

test.each<[string, string, RegExp]>([
  ["is no JSON", "{", /cannot be read/],
  ["has a negative price", `{"gpt-4o": {"in": -1, "out": 1}}`, /gpt-4o/],
  ["has an unknown field", `{"gpt-4o": {"in": 1, "out": 1, "per": 1000}}`, /gpt-4o/],
])("refuses to start with a price table that %s", (_, text, message) => {
  const path = fileWith(text);

  expect(() => openModels({ ...localSettings, prices: path })).toThrow(
    expect.objectContaining({ code: "CONFIG_INVALID", message: expect.stringMatching(message) }),
  );
});

test("refuses to start with a price table that is not there", () => {
  expect(() => openModels({ ...localSettings, prices: "/nowhere/prices.json" })).toThrow(
    expect.objectContaining({ code: "CONFIG_INVALID" }),
  );
});

const prices = JSON.stringify({ "gpt-4o-mini": { in: 1, out: 2 }, "two-wide": { embedding: 3 } });

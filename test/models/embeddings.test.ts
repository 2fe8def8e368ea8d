import { inspect } from "node:util";
import { LLMock } from "@copilotkit/aimock";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { LoregraphError } from "../../src/errors.ts";
import { batches, embedder } from "../../src/models/embeddings.ts";
import {
  type Answer,
  breakingServer,
  closedUrl,
  counted,
  embeddings,
  expectWait,
  key,
  localSettings,
  secret,
  serverAnswering,
  settingsFor,
  silentServer,
} from "./server.ts";

const texts = (count: number) => Array.from({ length: count }, (_, at) => `text ${at}`);

/** Answers each text with a vector that names its number. */
function numbered({ body }: { readonly body: Record<string, unknown> }): Answer {
  const input = body.input as readonly string[];
  return embeddings(input.map((text) => [Number(text.replace("text ", "")), 1]));
}

describe("against aimock", () => {
  const mock = new LLMock({ port: 0, auth: { apiKeys: [key] }, logLevel: "silent" });
  beforeAll(() => mock.start());
  afterAll(() => mock.stop());
  beforeEach(() => {
    mock.clearFixtures();
    mock.clearRequests();
  });

  test("turns each text into its own vector, the same one every time", async () => {
    const embeds = embedder(settingsFor(mock.url));

    const [wolf, girl] = await embeds.embed(["wolf", "girl"], counted());
    const [again] = await embeds.embed(["wolf"], counted());

    expect(wolf).toHaveLength(embeds.dimensions);
    expect(wolf).not.toEqual(girl);
    expect(again).toEqual(wolf);
  });

  test("says when to come back from a rate limit, and does not try again by itself", async () => {
    mock.onEmbedding(secret, {
      error: { message: secret, code: "rate_limit_exceeded" },
      status: 429,
      retryAfter: 9,
    });
    const since = Date.now();

    const thrown = await embedder(settingsFor(mock.url))
      .embed([secret], counted())
      .catch((error: unknown) => error);

    expect(thrown).toMatchObject({ code: "RATE_LIMITED" });
    expectWait((thrown as LoregraphError).after, 9, since);
    expect(mock.getRequests()).toHaveLength(1);
  });

  test("refuses for good with a wrong key", async () => {
    const embeds = embedder(settingsFor(mock.url, { apiKey: "another-key" }));

    await expect(embeds.embed(["wolf"], counted())).rejects.toMatchObject({
      code: "MODEL_REFUSED",
    });
  });
});

test("sends many texts in batches, and keeps their order", async () => {
  const { url, requests } = await serverAnswering(numbered);
  const embeds = embedder(settingsFor(url, { embeddingModel: "two-wide" }));
  const { usage, fetch } = counted();

  const vectors = await embeds.embed(texts(600), { usage, fetch });

  expect(requests.map(({ body }) => (body.input as string[]).length)).toEqual([256, 256, 88]);
  expect(vectors).toEqual(texts(600).map((_, at) => [at, 1]));
  expect(usage.total()).toMatchObject({ embedding_calls: 3, embedding_tokens: 1_200 });
});

test("keeps the order when the server answers in another one", async () => {
  const { url } = await serverAnswering((request) => {
    const { body } = numbered(request) as { body: { data: unknown[] } };
    return { body: { ...body, data: body.data.toReversed() } };
  });

  const vectors = await embedder(settingsFor(url, { embeddingModel: "two-wide" })).embed(texts(3), counted());

  expect(vectors).toEqual([
    [0, 1],
    [1, 1],
    [2, 1],
  ]);
});

test("bounds a batch's bytes, and sends a longer text alone", () => {
  const long = "ж".repeat(200_000);

  const sizes = [...batches(["a", "b".repeat(249_999), "c", long, "d"])].map((batch) => batch.length);

  expect(sizes).toEqual([2, 1, 1, 1]);
  expect([...batches([])]).toEqual([]);
});

test("counts what a batch cost", async () => {
  const { url } = await serverAnswering(() => ({
    body: { ...(embeddings([[1, 0]]).body as object), usage: { prompt_tokens: 1_000_000 } },
  }));
  const { usage, fetch } = counted();

  await embedder(settingsFor(url))
    .embed(["a"], { usage, fetch })
    .catch(() => "the vector is too short for this model");

  expect(usage.total()).toMatchObject({ embedding_calls: 1, embedding_tokens: 1_000_000, cost_usd: 0.02 });
});

test("reads vectors that come as base64", async () => {
  const packed = Buffer.from(Float32Array.of(0.5, -0.25).buffer).toString("base64");
  const { url } = await serverAnswering(() => ({ body: { data: [{ index: 0, embedding: packed }] } }));

  const vectors = await embedder(settingsFor(url, { embeddingModel: "two-wide" })).embed(["a"], counted());

  expect(vectors).toEqual([[0.5, -0.25]]);
});

test("learns an unknown model's dimensions from its first answer, and holds it to them", async () => {
  const lengths = [2, 3];
  const { url } = await serverAnswering(() => embeddings([Array(lengths.shift()).fill(0.5)]));
  const embeds = embedder(settingsFor(url, { embeddingModel: "unknown" }));

  expect(embeds.dimensions).toBe(0);
  await embeds.embed(["a"], counted());
  expect(embeds.dimensions).toBe(2);
  await expect(embeds.embed(["b"], counted())).rejects.toMatchObject({
    code: "MODEL_ANSWER_INVALID",
  });
});

test.each<[string, Answer]>([
  ["too few vectors", embeddings([[1, 0]])],
  ["an index twice", { body: { data: [0, 0].map((index) => ({ index, embedding: [1, 0] })) } }],
  ["an empty vector", embeddings([[1, 0], []])],
  ["words for numbers", { body: { data: [0, 1].map((index) => ({ index, embedding: [secret] })) } }],
  ["a number that is none", { body: { data: [0, 1].map((index) => ({ index, embedding: [null] })) } }],
  ["vectors of several lengths", embeddings([[1, 0], [1]])],
  ["an empty object", { body: {} }],
  ["a web page", { body: `<html>${secret}`, headers: { "content-type": "text/html" } }],
  ["JSON that breaks off", { body: `{"data": "${secret}` }],
])("raises MODEL_ANSWER_INVALID for %s", async (_, answer) => {
  const { url } = await serverAnswering(() => answer);
  const embeds = embedder(settingsFor(url, { embeddingModel: "unknown" }));

  const thrown = await embeds.embed([secret, "b"], counted()).catch((error: unknown) => error);

  expect(thrown).toMatchObject({ code: "MODEL_ANSWER_INVALID" });
  expect(inspect(thrown, { depth: 20, showHidden: true })).not.toContain(secret);
});

test("is MODEL_UNAVAILABLE after the timeout when the server says nothing", async () => {
  const { url } = await silentServer();
  const started = Date.now();

  const embedding = embedder(settingsFor(url)).embed(["a"], counted(300));

  await expect(embedding).rejects.toMatchObject({
    code: "MODEL_UNAVAILABLE",
    message: "the model server did not answer in time",
  });
  expect(Date.now() - started).toBeLessThan(4_000);
});

test("is MODEL_UNAVAILABLE when the server hangs up in the middle of its answer", async () => {
  const embedding = embedder(settingsFor(await breakingServer())).embed(["a"], counted());

  await expect(embedding).rejects.toMatchObject({ code: "MODEL_UNAVAILABLE" });
});

test("is MODEL_UNREACHABLE when nothing listens", async () => {
  const embedding = embedder(settingsFor(await closedUrl())).embed(["a"], counted());

  await expect(embedding).rejects.toMatchObject({ code: "MODEL_UNREACHABLE" });
});

test("ends at once when it is aborted, with the signal's reason", async () => {
  const { url, asked } = await silentServer();
  const stop = new AbortController();
  const reason = new Error("the run was cancelled");
  const embedding = embedder(settingsFor(url)).embed(["a"], { ...counted(), signal: stop.signal });
  const ended = expect(embedding).rejects.toBe(reason);

  await asked;
  stop.abort(reason);

  await ended;
});

describe("without a server", () => {
  test("embeds locally, which counts as a call and costs nothing", async () => {
    const embeds = embedder(localSettings);
    const { usage, fetch } = counted();

    const vectors = await embeds.embed(["wolf", "girl"], { usage, fetch });

    expect(embeds).toMatchObject({ model: "local-subword-256", dimensions: 256 });
    expect(vectors.map((vector) => vector.length)).toEqual([256, 256]);
    expect(usage.total()).toEqual({ ...counted().usage.total(), embedding_calls: 1 });
  });

  test("ends when it is aborted, between two texts", async () => {
    const stop = new AbortController();
    const reason = new Error("the run was cancelled");
    const embedding = embedder(localSettings).embed(texts(10_000), {
      ...counted(),
      signal: stop.signal,
    });

    stop.abort(reason);

    await expect(embedding).rejects.toBe(reason);
  });
});

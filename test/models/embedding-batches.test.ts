import { setTimeout as delay } from "node:timers/promises";
import { expect, test } from "vitest";
import type { ModelCall } from "../../src/models/calls.ts";
import { openModels } from "../../src/models/models.ts";
import { embeddings, serverAnswering, settingsFor } from "./server.ts";

/** A server whose vector of a text is its length, and which refuses requests that `refuses` tells of. */
async function embedding(refuses: (texts: readonly string[]) => boolean = () => false) {
  const server = await serverAnswering(({ body }) => {
    const texts = body.input as readonly string[];
    if (refuses(texts))
      return { status: 400, body: { error: { code: "bad_text", type: "invalid_request_error" } } };
    return embeddings(texts.map((text) => [text.length, 1]));
  });
  const models = openModels(settingsFor(server.url, { embeddingModel: "two-wide" }));
  const attempt = () => {
    const calls: ModelCall[] = [];
    const lent = models.lend({ known: async () => new Map(), onCall: (call) => void calls.push(call) });
    return { ...lent, calls };
  };
  return { server, attempt };
}

test("texts that several attempts ask about at a moment go in one request, and each gets its own vectors", async () => {
  const { server, attempt } = await embedding();
  const [one, other] = [attempt(), attempt()];

  const vectors = await Promise.all([one.embed(["a", "bb"]), other.embed(["cccc"])]);

  expect(vectors).toEqual([
    [
      [1, 1],
      [2, 1],
    ],
    [[4, 1]],
  ]);
  expect(server.requests.map(({ body }) => body.input)).toEqual([["a", "bb", "cccc"]]);
});

test("each attempt bears its share of what is billed, by the length of its texts, and nothing is lost", async () => {
  const { attempt } = await embedding();
  const [one, other] = [attempt(), attempt()];
  await Promise.all([one.embed(["a".repeat(10), "b".repeat(10)]), other.embed(["c".repeat(40)])]);

  // Three texts are billed six tokens.
  expect(one.usage()).toMatchObject({ embedding_calls: 1, embedding_tokens: 2 });
  expect(other.usage()).toMatchObject({ embedding_calls: 1, embedding_tokens: 4 });
  expect(one.calls).toMatchObject([{ kind: "embedding", model: "two-wide", tokens_in: 2 }]);
});

test("whoever asks alone waits for nobody", async () => {
  const { server, attempt } = await embedding();
  await attempt().embed(["a"]);
  await delay(10);
  await attempt().embed(["b"]);

  expect(server.requests).toHaveLength(2);
});

test("one that gives up takes nothing from the others", async () => {
  const { attempt } = await embedding();
  const given = new AbortController();
  const reason = new Error("no longer needed");
  const first = attempt().embed(["a"], { signal: given.signal });
  const second = attempt().embed(["bb"]);
  given.abort(reason);

  await expect(first).rejects.toBe(reason);
  expect(await second).toEqual([[2, 1]]);
});

test("a text that the server refuses is refused to who asked about it, and to nobody else", async () => {
  const { attempt } = await embedding((texts) => texts.includes("poison"));
  const asked = ["a", "bb", "poison", "dddd", "eeeee"].map((text) => attempt().embed([text]));

  const results = await Promise.allSettled(asked);

  expect(results.map(({ status }) => status)).toEqual([
    "fulfilled",
    "fulfilled",
    "rejected",
    "fulfilled",
    "fulfilled",
  ]);
  await expect(asked[2]).rejects.toMatchObject({ code: "MODEL_REFUSED" });
  expect(await asked[4]).toEqual([[5, 1]]);
});

test("a request holds no more than a server takes", async () => {
  const { server, attempt } = await embedding();
  const texts = (letter: string) => Array.from({ length: 200 }, (_, nth) => `${letter}${nth}`);
  await Promise.all([attempt().embed(texts("a")), attempt().embed(texts("b"))]);

  expect(server.requests.map(({ body }) => (body.input as readonly string[]).length)).toEqual([200, 200]);
});

import { Annotation, END, Send, START, StateGraph } from "@langchain/langgraph";
import { expect, test } from "vitest";
import { z } from "zod";
import { LoregraphError } from "../../src/errors.ts";
import type { ModelCall } from "../../src/models/calls.ts";
import type { Layer } from "../../src/models/layers.ts";
import { openModels } from "../../src/models/models.ts";
import { keyOf, withModel } from "../../src/models/request.ts";
import {
  completion,
  embeddings,
  key,
  localSettings,
  serverAnswering,
  settingsFor,
  silentServer,
} from "./server.ts";

const Mood = z.object({ mood: z.string() });
const calm = completion({ content: JSON.stringify({ mood: "calm" }) });
const asker = { tenant_id: "a", run_id: "b", pipeline: "echo" };

async function bothApis() {
  return await serverAnswering(({ path, body }) => {
    if (path !== "/v1/embeddings") return calm;
    return embeddings((body.input as string[]).map(() => [0.5, 0.5]));
  });
}

/** The model tools of one attempt, and the calls that it was told of. */
function lent(url: string, layers: Parameters<typeof openModels>[1] = {}) {
  const calls: ModelCall[] = [];
  const settings = settingsFor(url, { embeddingModel: "two-wide" });
  const { model, embed, usage } = openModels(settings, layers).lend({
    known: async () => new Map(),
    asker,
    onCall: (call) => calls.push(call),
  });
  if (model === undefined) throw new Error("expected a configured chat model");
  return { model, embed, usage, calls };
}

test("tells of each answer: what was asked, by whose price, and how long it took", async () => {
  const { url } = await bothApis();
  const { model, embed, calls } = lent(url);

  await model.invoke("Is all well?");
  await embed(["wolf"]);

  expect(calls).toEqual([
    {
      kind: "chat",
      model: "gpt-4o-mini",
      node: undefined,
      key: expect.stringMatching(/^[0-9a-f]{64}$/),
      from: "provider",
      tokens_in: 1_000,
      tokens_cached: 200,
      tokens_out: 100,
      cost_usd: expect.closeTo((800 * 0.15 + 200 * 0.075 + 100 * 0.6) / 1e6, 12),
      saved_usd: 0,
      ms: expect.any(Number),
      request: expect.objectContaining({ messages: [{ role: "user", content: "Is all well?" }] }),
      response: calm.body,
    },
    expect.objectContaining({ kind: "embedding", model: "two-wide", tokens_in: 2, tokens_out: 0 }),
  ]);
});

test("names the node that asks: in parallel branches, in those that were sent, and in chains of a node", async () => {
  const { url } = await bothApis();
  const { model, embed, calls } = lent(url);
  const State = Annotation.Root({
    items: Annotation<string[]>({ reducer: (had, more) => [...had, ...more], default: () => [] }),
  });
  const reader = model.withStructuredOutput(Mood);
  const ask = (what: string) => async () => ({ items: [(await model.invoke(what)).text] });
  const graph = new StateGraph(State)
    .addNode("left", ask("left"))
    .addNode("right", async () => {
      const [first, second] = await Promise.all([reader.invoke("right"), reader.invoke("right again")]);
      return { items: [first.mood, second.mood] };
    })
    .addNode("each", async ({ items }: { items: string[] }) => ask(`each ${items[0]}`)())
    .addNode("vectors", async () => {
      await embed(["wolf", "girl"]);
      return {};
    })
    .addEdge(START, "left")
    .addEdge(START, "right")
    .addConditionalEdges("left", () => ["one", "two"].map((item) => new Send("each", { items: [item] })))
    .addEdge("each", "vectors")
    .addEdge("right", END)
    .addEdge("vectors", END)
    .compile();

  await graph.invoke({ items: [] });

  const said = calls.map(({ node, request }) => {
    const { messages, input } = request as { messages?: { content: string }[]; input?: string[] };
    return `${node}: ${messages?.[0]?.content ?? input?.join()}`;
  });
  expect(said.toSorted()).toEqual([
    "each: each one",
    "each: each two",
    "left: left",
    "right: right",
    "right: right again",
    "vectors: wolf,girl",
  ]);
});

test("gives the same question the same key, and any other one another", async () => {
  const { url } = await bothApis();
  const { model, calls } = lent(url);

  await model.invoke("Is all well?");
  await lent(url, {}).model.invoke("Is all well?");
  await model.invoke("Is all well?");
  await model.invoke("Is all lost?");
  await model.withStructuredOutput(Mood).invoke("Is all well?");

  const keys = calls.map((call) => call.key);
  expect(keys[0]).toBe(keys[1]);
  expect(new Set(keys).size).toBe(3);
});

test("knows a question by what it says, in whatever order its fields stand", () => {
  expect(keyOf({ model: "m", messages: [{ role: "user", content: "a" }] })).toBe(
    keyOf({ messages: [{ content: "a", role: "user" }], model: "m" }),
  );
  expect(keyOf({ messages: ["a", "b"] })).not.toBe(keyOf({ messages: ["b", "a"] }));
});

test("passes through tape, cache and limits, in this order, and then to the server", async () => {
  const { url } = await bothApis();
  const passed: string[] = [];
  const noting =
    (name: string): Layer =>
    (next) =>
    async (request) => {
      passed.push(`${name} of ${request.asker?.pipeline}`);
      return await next(request);
    };
  const { model } = lent(url, {
    limits: noting("limits"),
    tape: noting("tape"),
    cache: { layer: noting("cache"), keep: async () => {} },
  });

  await model.invoke("Is all well?");

  expect(passed).toEqual(["tape of echo", "cache of echo", "limits of echo"]);
});

test("counts what no server was asked for as saved, and not as used", async () => {
  const { url, requests } = await bothApis();
  const layer: Layer = () => async (request) => ({
    status: 200,
    headers: new Headers({ "content-type": "application/json" }),
    body: JSON.stringify(calm.body),
    from: "cache",
    model: request.model,
  });
  const { model, usage, calls } = lent(url, { cache: { layer, keep: async () => {} } });

  expect((await model.invoke("Is all well?")).text).toBe('{"mood":"calm"}');

  expect(requests).toEqual([]);
  expect(usage()).toMatchObject({ model_calls: 0, tokens_in: 0, cost_usd: 0 });
  expect(calls).toMatchObject([
    { from: "cache", tokens_in: 1_000, cost_usd: 0, saved_usd: expect.closeTo(0.000_195, 9) },
  ]);
});

test("asks another model where a layer says so, and bills that one", async () => {
  const { url, requests } = await bothApis();
  const limits: Layer = (next) => (request) => next(withModel(request, "gpt-4.1-nano"));
  const { model, calls } = lent(url, { limits });

  await model.invoke("Is all well?");

  expect(requests.map(({ body }) => body.model)).toEqual(["gpt-4.1-nano"]);
  expect(calls).toMatchObject([{ model: "gpt-4.1-nano", cost_usd: expect.closeTo(0.000_125, 9) }]);
});

test("lets a layer refuse by an error of ours, which comes out of the call as it is", async () => {
  const { url, requests } = await bothApis();
  const after = new Date(Date.now() + 60_000);
  const limits: Layer = () => async () => {
    throw new LoregraphError("RATE_LIMITED", "wait", { after });
  };
  const { model, embed, calls } = lent(url, { limits });

  await expect(model.invoke("Is all well?")).rejects.toMatchObject({ code: "RATE_LIMITED", after });
  await expect(embed(["wolf"])).rejects.toMatchObject({ code: "RATE_LIMITED", after });

  expect(requests).toEqual([]);
  expect(calls).toEqual([]);
});

test("counts the time of a call from when it leaves, however long it waited for its turn", async () => {
  const { url } = await bothApis();
  const slow: Layer = (next) => async (request) => {
    await new Promise((resolve) => setTimeout(resolve, 400));
    return await next(request);
  };
  const settings = settingsFor(url, { timeoutMs: 300 });
  const { model } = openModels(settings, { limits: slow }).lend({ known: async () => new Map() });

  expect((await model?.invoke("Is all well?"))?.text).toBe('{"mood":"calm"}');

  const silent = await silentServer();
  const never = openModels(settingsFor(silent.url, { timeoutMs: 300 })).lend({
    known: async () => new Map(),
  });
  await expect(never.model?.invoke("Is all well?")).rejects.toMatchObject({ code: "MODEL_UNAVAILABLE" });
});

test("waits for the attempt's gate right before the server, for chats and for embeddings", async () => {
  const { url, requests } = await bothApis();
  const kinds: string[] = [];
  const { model, embed } = openModels(settingsFor(url)).lend({
    known: async () => new Map(),
    before: async ({ kind }) => {
      kinds.push(`${kind} ${requests.length}`);
      throw new LoregraphError("LEASE_LOST", "another worker has it");
    },
  });

  await expect(model?.invoke("Is all well?")).rejects.toMatchObject({ code: "LEASE_LOST" });
  await expect(embed(["wolf"])).rejects.toMatchObject({ code: "LEASE_LOST" });

  expect(kinds).toEqual(["chat 0", "embedding 0"]);
  expect(requests).toEqual([]);
});

test("sends the key to the server, and tells nobody else of it", async () => {
  const { url } = await bothApis();
  const { model, calls } = lent(url);

  await model.invoke("Is all well?");

  expect(JSON.stringify(calls)).not.toContain(key);
});

test("tells of nothing where models are local", async () => {
  const calls: ModelCall[] = [];
  const { embed, usage } = openModels(localSettings).lend({
    known: async () => new Map(),
    onCall: (call) => calls.push(call),
  });

  await embed(["wolf"]);

  expect(calls).toEqual([]);
  expect(usage()).toMatchObject({ embedding_calls: 1 });
});

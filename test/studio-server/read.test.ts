import { randomUUID } from "node:crypto";
import { rm } from "node:fs/promises";
import { dirname } from "node:path";
import { Client, type ThreadState } from "@langchain/langgraph-sdk";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { runAbout, runtime, startWorker, takeScene } from "../support/runtime.ts";
import { type Studio, startStudio, studioGraphs, wholeDatabase } from "../support/studio.ts";
import { all } from "../support/studio-pipelines.ts";

let database: TestDatabase;
let graphs: string;
let studio: Studio;
let client: Client;
const runs: Record<string, string> = {};
const scene = { tenant_id: randomUUID(), source_id: randomUUID(), text: "the tide turns" };

beforeAll(async () => {
  database = await testDatabase();
  graphs = await studioGraphs();
  const context = runtime(database, ...all);
  await using worker = startWorker(context, database);
  await takeScene(context, scene);
  await worker.untilIdle();
  for (const name of ["base", ...all.map((pipeline) => pipeline.name)])
    runs[name] = (await runAbout(context, scene, name)).id;
  studio = await startStudio(database, { graphs });
  client = studio.client;
}, 120_000);
afterAll(async () => {
  await studio?.stop();
  await rm(dirname(graphs), { recursive: true });
});

const idOf = (pipeline: string) => runs[pipeline] ?? "";

test("lists the pipelines as assistants, with their graphs and shapes", async () => {
  const assistants = await client.assistants.search();
  const [nested] = await client.assistants.search({ graphId: "nested" });
  const drawn = await client.assistants.getGraph("steps");
  const within = await client.assistants.getGraph(nested?.assistant_id ?? "", { xray: true });
  const schemas = await client.assistants.getSchemas("steps");
  const inner = await client.assistants.getSubgraphs("nested");

  expect(assistants.map(({ graph_id }) => graph_id).toSorted()).toEqual([
    "asks",
    "base",
    "nested",
    "quick",
    "steps",
    "walks",
  ]);
  expect(drawn.nodes.map(({ id }) => id)).toEqual(["__start__", "one", "two", "three", "__end__"]);
  expect(within.nodes.map(({ id }) => id)).toContain("inside:whisper");
  expect(Object.keys(schemas.input_schema?.properties ?? {})).toContain("text");
  expect(Object.keys(schemas.output_schema?.properties ?? {})).toEqual(["said", "events"]);
  expect(Object.keys(schemas.state_schema?.properties ?? {})).toEqual(
    expect.arrayContaining(["text", "said"]),
  );
  expect(Object.keys(inner)).toEqual(["inside"]);
});

test("opens a finished run by its id: state after each node, newest first, and at each checkpoint", async () => {
  const history = await client.threads.getHistory<{ said?: string }>(idOf("steps"));
  const [state, thread] = [
    await client.threads.getState<{ said?: string }>(idOf("steps")),
    await client.threads.get(idOf("steps")),
  ];

  expect(history.map(({ values, next }) => [values.said, next])).toEqual([
    ["one two three", []],
    ["one two", ["three"]],
    ["one", ["two"]],
    [undefined, ["one"]],
    [undefined, ["__start__"]],
  ]);
  expect(state).toEqual(history[0]);
  expect(thread).toMatchObject({
    thread_id: idOf("steps"),
    status: "idle",
    values: { said: "one two three", text: scene.text },
    metadata: {
      tenant_id: scene.tenant_id,
      pipeline: "steps",
      source_id: scene.source_id,
      source_type: "scene",
      status: "success",
      model: "echo",
      version: 1,
    },
  });
  for (const then of history) {
    const id = then.checkpoint.checkpoint_id ?? "";
    expect(await client.threads.getState(idOf("steps"), id)).toEqual(then);
    expect(await client.threads.getState(idOf("steps"), then.checkpoint)).toEqual(then);
  }
  expect(history[1]?.parent_checkpoint).toEqual(history[2]?.checkpoint);
});

test("pages through history", async () => {
  const whole = await client.threads.getHistory(idOf("steps"));
  const first = await client.threads.getHistory(idOf("steps"), { limit: 2 });
  const last: ThreadState | undefined = first.at(-1);
  const rest = await client.threads.getHistory(idOf("steps"), {
    before: { configurable: { checkpoint_id: last?.checkpoint.checkpoint_id } },
  });

  expect([...first, ...rest]).toEqual(whole);
});

test("shows what was sent to many tasks, and what each answered", async () => {
  const history = await client.threads.getHistory<{ heard: string[] }>(idOf("walks"));
  const visiting = history.find(({ next }) => next.includes("visit"));

  expect(visiting?.tasks.map(({ name }) => name)).toEqual(["visit", "visit", "visit"]);
  expect(visiting?.tasks.map(({ result }) => result)).toEqual([
    { heard: ["the!"] },
    { heard: ["tide!"] },
    { heard: ["turns!"] },
  ]);
  expect(history[0]?.values.heard).toEqual(["the!", "tide!", "turns!"]);
});

test("shows the state of a graph within a graph", async () => {
  const history = await client.threads.getHistory(idOf("nested"));
  const before = history.find(({ next }) => next.includes("inside"));
  const inner = before?.tasks[0]?.checkpoint;
  if (!inner) throw new Error("expected the task to say where its own states are");
  const within = await client.threads.getHistory<{ said: string }>(idOf("nested"), { checkpoint: inner });

  expect(within.map(({ values, next }) => [values.said, next])).toEqual([
    ["(14)…", []],
    ["(14)", ["hush"]],
    ["", ["whisper"]],
    [undefined, ["__start__"]],
  ]);
});

test("opens a run that waits for a person, with its question", async () => {
  const [thread, state] = [
    await client.threads.get(idOf("asks")),
    await client.threads.getState(idOf("asks")),
  ];
  const question = { value: { question: "Who is speaking?" } };

  expect(thread.status).toBe("interrupted");
  expect(Object.values(thread.interrupts)).toEqual([[expect.objectContaining(question)]]);
  expect(state.next).toEqual(["ask"]);
  expect(state.tasks[0]?.interrupts).toEqual([expect.objectContaining(question)]);
});

test("shows a quick run from the ledger, and says which option keeps its history", async () => {
  const [history, base] = [
    await client.threads.getHistory<{ said: string }>(idOf("quick")),
    await client.threads.getState<{ chunks: unknown[] }>(idOf("base")),
  ];

  expect(history).toHaveLength(1);
  expect(history[0]?.values).toMatchObject({ said: "The pier", text: scene.text });
  expect(history[0]?.metadata).toMatchObject({
    source: "ledger",
    note: expect.stringContaining("`checkpoints: { history: true }` in the pipeline quick"),
  });
  expect(base.values).toMatchObject({ kind: "narration", text: scene.text });
  expect(base.values.chunks).toHaveLength(1);
});

test("finds threads by what they are about", async () => {
  const ids = async (query: Parameters<Client["threads"]["search"]>[0]) =>
    (await client.threads.search(query)).map(({ thread_id }) => thread_id);

  expect((await ids({})).toSorted()).toEqual(Object.values(runs).toSorted());
  expect(await ids({ metadata: { pipeline: "steps" } })).toEqual([idOf("steps")]);
  expect(await ids({ metadata: { tenant_id: randomUUID() } })).toEqual([]);
  expect(await ids({ status: "interrupted" })).toEqual([idOf("asks")]);
  expect(await ids({ limit: 2, offset: 1 })).toEqual((await ids({})).slice(1, 3));
  const [only] = await client.threads.search({ ids: [idOf("steps")], select: ["thread_id", "values"] });
  expect(only).toEqual({
    thread_id: idOf("steps"),
    values: expect.objectContaining({ said: "one two three" }),
  });
});

test("shows the ledger's entry as the thread's one run", async () => {
  const [run] = await client.runs.list(idOf("steps"));

  expect(run).toMatchObject({ run_id: idOf("steps"), thread_id: idOf("steps"), status: "success" });
  expect(await client.runs.get(idOf("steps"), idOf("steps"))).toEqual(run);
});

describe("what nobody may see or do", () => {
  const elsewhere = randomUUID();

  test.each<[string, (client: Client) => Promise<unknown>, string]>([
    ["an unknown run", (client) => client.threads.get(elsewhere), "expected the id of a run"],
    ["what is no id", (client) => client.threads.get("mine"), "INPUT_INVALID"],
    [
      "a checkpoint that is not there",
      (client) => client.threads.getState(idOf("steps"), elsewhere),
      "has no checkpoint",
    ],
    [
      "an unknown assistant",
      (client) => client.assistants.getGraph("stepz"),
      "expected an assistant of base",
    ],
    [
      "editing a state",
      (client) => client.threads.updateState(idOf("steps"), { values: { said: "no" } }),
      "--allow-fork",
    ],
    ["forking", (client) => client.threads.copy(idOf("steps")), "--allow-fork"],
    ["a new thread", (client) => client.threads.create(), "READ_ONLY"],
    ["a new run", (client) => client.runs.create(idOf("steps"), "steps"), "READ_ONLY"],
    ["deleting", (client) => client.threads.delete(idOf("steps")), "READ_ONLY"],
  ])("%s is refused in words", async (_, ask, said) => {
    await expect(ask(client)).rejects.toThrow(said);
  });

  test("another tenant's run is unknown where one tenant is shown", async () => {
    const { client: theirs, stop } = await startStudio(database, {
      graphs,
      args: ["--tenant", randomUUID()],
    });
    onTestFinished(async () => void (await stop()));
    await expect(theirs.threads.get(idOf("steps"))).rejects.toThrow("HTTP 404");
    await expect(theirs.threads.getHistory(idOf("steps"))).rejects.toThrow("HTTP 404");
    expect(await theirs.threads.search({ metadata: { tenant_id: scene.tenant_id } })).toEqual([]);
  }, 60_000);

  test("nothing is answered without the key, by whatever way it may be shown", async () => {
    const { url, key } = studio;
    const ask = async (path: string, headers: Record<string, string> = {}) =>
      (await fetch(`${url}${path}`, { headers })).status;

    expect(await ask("/ok")).toBe(200);
    expect(await ask(`/threads/${idOf("steps")}`)).toBe(401);
    expect(await ask("/info", { "x-api-key": `${key}x` })).toBe(401);
    expect(await ask("/key/wrong/info")).toBe(401);
    expect(await ask("/info", { authorization: `Bearer ${key}` })).toBe(200);
    expect(await ask(`/key/${key}/info`)).toBe(200);
    const keyless = new Client({ apiUrl: `${url}/key/${key}`, apiKey: null });
    expect(await keyless.threads.get(idOf("steps"))).toMatchObject({ thread_id: idOf("steps") });
  });

  test("no page but Studio's and this machine's may ask", async () => {
    const { url, key } = studio;
    const ask = (origin: string, method = "GET") =>
      fetch(`${url}/info`, {
        method,
        headers: { origin, "x-api-key": key, "access-control-request-private-network": "true" },
      });
    const [theirs, near, stranger] = [
      await ask("https://smith.langchain.com", "OPTIONS"),
      await ask("http://localhost:3000"),
      await ask("https://smith.langchain.com.example.org"),
    ];

    expect(theirs.status).toBe(204);
    expect(theirs.headers.get("access-control-allow-origin")).toBe("https://smith.langchain.com");
    expect(theirs.headers.get("access-control-allow-headers")).toContain("x-api-key");
    expect(theirs.headers.get("access-control-allow-private-network")).toBe("true");
    expect(near.headers.get("access-control-allow-origin")).toBe("http://localhost:3000");
    expect(stranger.status).toBe(403);
    expect(stranger.headers.get("access-control-allow-origin")).toBeNull();
  });
});

test("a session of reading leaves every byte of the database as it was, and logs no text; SIGTERM ends it", async () => {
  const before = await wholeDatabase(database);
  const { key, errors, stop } = studio;
  await client.assistants.search();
  for (const id of Object.values(runs)) {
    await client.threads.get(id);
    await client.threads.getState(id, undefined, { subgraphs: true });
    await client.threads.getHistory(id, { limit: 100 });
  }
  await client.threads.updateState(idOf("steps"), { values: { said: "no" } }).catch(() => {});

  expect(await stop()).toBe(0);
  expect(await wholeDatabase(database)).toBe(before);
  expect(errors()).toContain("answered");
  expect(errors()).not.toContain("tide");
  expect(errors()).not.toContain(key);
});

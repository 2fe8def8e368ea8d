import { END, START, StateGraph } from "@langchain/langgraph";
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { z } from "zod";
import { failAttempt, succeedRun } from "../../src/ledger/attempt.ts";
import { enqueueRuns } from "../../src/ledger/enqueue.ts";
import { definePipeline, Entity, noUsage } from "../../src/pipeline.ts";
import { loadRegistry } from "../../src/registry.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { openTestApp, type TestApp } from "../support/http.ts";
import { claim, claimed, request, stamp, started } from "../support/ledger.ts";
import { echo } from "../support/pipelines.ts";
import { emptyLedger, runtime } from "../support/runtime.ts";

const Said = z.object({ said: z.string() });

/** An enricher whose graph cannot be built without a chat model. */
const modelBound = definePipeline({
  name: "model-bound",
  version: 3,
  trigger: { on: "echo.said", flag: "moods" },
  output: Said,
  graph: ({ model }) => {
    if (!model) throw new Error("no model");
    return new StateGraph({ state: Entity.extend(Said.shape), input: Entity, output: Said })
      .addNode("say", () => ({ said: "" }))
      .addEdge(START, "say")
      .addEdge("say", END);
  },
});

let database: TestDatabase;
let api: TestApp;

beforeAll(async () => {
  database = await testDatabase();
  const triggered = echo(() => ({ said: "" }), {
    trigger: { on: "entity.ingested", types: ["scene", "beat"], mentioned: true, when: () => true },
    emits: ["echo.said"],
  });
  api = await openTestApp(runtime(database, triggered, modelBound));
});
beforeEach(() => emptyLedger(database));

const ask = async (method: "GET" | "POST" | "PATCH", path = "", payload?: object) => {
  const answer = await api.ask({ method, url: `/admin/pipelines${path}`, ...(payload && { payload }) });
  return { status: answer.statusCode, json: answer.json() };
};

const nothing = { due: 0, later: 0, running: 0, waiting: 0, waiting_since: null, failed: 0, due_since: null };
const noneEnded = { minute: {}, five_minutes: {}, hour: {} };

describe("the list", () => {
  test("tells what each is and what triggers it", async () => {
    const { status, json } = await ask("GET");
    expect(status).toBe(200);
    expect(json.next).toBeNull();
    expect(json.items.map(({ name }: { name: string }) => name)).toEqual(["base", "echo", "model-bound"]);
    expect(json.items[1]).toEqual({
      ...{ name: "echo", kind: "enricher", version: 1, emits: ["echo.said"], needs_model: false },
      trigger: { on: "entity.ingested", types: ["scene", "beat"], mentioned: true, when: true, flag: null },
      retries: { attempts: 3, base: 1, most: 5 },
      ...{ timeout: 600_000, priority: 0, paused_at: null, max_running: null },
      ...{ backlog: nothing, ended: noneEnded },
    });
    expect(json.items[0]).toMatchObject({ kind: "ingestion", needs_model: false });
    expect(json.items[2]).toMatchObject({
      needs_model: true,
      trigger: { on: "echo.said", types: null, mentioned: false, when: false, flag: "moods" },
    });
  });

  test("counts what waits and what ended lately", async () => {
    const failure = { code: "GRAPH_FAILED", message: "no", retryInMs: null, counts: true, usage: noUsage };
    await failAttempt(database.pool, await started(database.pool, { pipeline: "echo" }), failure);
    const done = await claimed(database.pool, { pipeline: "echo" });
    await succeedRun(database.pool, done, { outcome: "skipped", stamp, usage: noUsage });
    await claimed(database.pool, { pipeline: "echo" });
    await enqueueRuns(database.pool, [request({ pipeline: "echo" }), request({ pipeline: "echo" })]);

    const ended = { failed: 1, skipped: 1 };
    expect((await ask("GET")).json.items[1]).toMatchObject({
      backlog: {
        due: 2,
        later: 0,
        running: 1,
        waiting: 0,
        waiting_since: null,
        failed: 1,
        due_since: expect.any(String),
      },
      ended: { minute: ended, five_minutes: ended, hour: ended },
    });
  });

  test("takes no filters", async () => {
    expect(await ask("GET", "?limit=1")).toMatchObject({ status: 400, json: { code: "INPUT_INVALID" } });
  });
});

describe("a pipeline", () => {
  test("is shown with its drawing", async () => {
    const { status, json } = await ask("GET", "/echo");
    expect(status).toBe(200);
    expect(json).toMatchObject({ name: "echo", backlog: nothing });
    expect(json.drawing).toMatch(/graph TD;[\s\S]*__start__[\s\S]*say/);
  });

  test("that cannot be drawn without a model is shown all the same", async () => {
    expect(await ask("GET", "/model-bound")).toMatchObject({
      status: 200,
      json: { drawing: null, version: 3 },
    });
  });

  test("of ours is drawn, each", async () => {
    const ours = await openTestApp({ ...runtime(database), registry: await loadRegistry() });
    for (const name of ["base", "dialog-mood", "character-traits"]) {
      const { drawing } = (await ours.ask({ url: `/admin/pipelines/${name}` })).json();
      expect(drawing).toMatch(/__end__/);
    }
  });

  test("that is paused starts nothing until it is resumed", async () => {
    await enqueueRuns(database.pool, [request({ pipeline: "echo" })]);
    const paused = await ask("POST", "/echo/pause");

    expect(paused).toEqual({
      status: 200,
      json: { pipeline: "echo", paused_at: expect.any(String), max_running: null },
    });
    expect(await ask("POST", "/echo/pause")).toEqual(paused);
    expect((await ask("GET", "/echo")).json).toMatchObject({
      ...{ paused_at: paused.json.paused_at, backlog: { due: 1 } },
    });
    expect(await claim(database.pool, "echo")).toEqual([]);
    expect((await ask("POST", "/echo/resume")).json).toMatchObject({ paused_at: null });
    expect(await claim(database.pool, "echo")).toHaveLength(1);
  });

  test("is capped, and set free again", async () => {
    await enqueueRuns(database.pool, [request({ pipeline: "echo" }), request({ pipeline: "echo" })]);
    expect((await ask("PATCH", "/echo", { max_running: 1 })).json).toEqual({
      ...{ pipeline: "echo", paused_at: null, max_running: 1 },
    });
    expect(await claim(database.pool, "echo")).toHaveLength(1);
    expect((await ask("PATCH", "/echo", { max_running: null })).json).toMatchObject({ max_running: null });
    expect(await claim(database.pool, "echo")).toHaveLength(1);
  });

  test.each<[string, object | undefined]>([
    ["no body", undefined],
    ["nothing", {}],
    ["less than none", { max_running: -1 }],
    ["half a run", { max_running: 0.5 }],
    ["more than the database counts", { max_running: 2 ** 31 }],
    ["a number in text", { max_running: "3" }],
    ["an unknown field", { max_running: 1, paused_at: null }],
  ])("refuses a cap of %s", async (_, body) => {
    expect(await ask("PATCH", "/echo", body)).toMatchObject({ status: 400, json: { code: "INPUT_INVALID" } });
    expect((await database.pool.query("select from pipeline_controls")).rowCount).toBe(0);
  });

  test.each(["/ecko", "/..%2f..", "/'%3Bdrop table pipeline_controls%3B--", "/__proto__"])(
    "that there is not is not found, and not steered: %s",
    async (path) => {
      for (const said of [
        await ask("GET", path),
        await ask("POST", `${path}/pause`),
        await ask("POST", `${path}/resume`),
        await ask("PATCH", path, { max_running: 1 }),
      ])
        expect(said).toMatchObject({ status: 404, json: { code: "NOT_FOUND" } });
      expect((await database.pool.query("select from pipeline_controls")).rowCount).toBe(0);
    },
  );

  test("whose name holds a NUL is refused", async () => {
    expect((await ask("POST", "/a%00b/pause")).status).toBe(400);
  });
});

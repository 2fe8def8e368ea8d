import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { pauseReingest } from "../../src/reingest/steer.ts";
import type { Context } from "../../src/worker/context.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { openTestApp, type TestApp } from "../support/http.ts";
import { echo } from "../support/pipelines.ts";
import { fillTenant, legalReingest, newReingest, startProducer, untilEnded } from "../support/reingests.ts";
import { emptyLedger, runtime, startWorker } from "../support/runtime.ts";
import { listenTo } from "../support/sse.ts";

let database: TestDatabase;
let context: Context;
let api: TestApp;
let base: string;
beforeAll(async () => {
  database = await testDatabase();
  context = runtime(
    database,
    echo(() => ({ said: "" })),
  );
  api = await openTestApp(context);
  base = `/admin/tenants/${api.tenant}`;
  await fillTenant(context, api.tenant, 12, { everyNth: 3 });
});
beforeEach(async () => {
  await emptyLedger(database);
  await database.pool.query("truncate reingests cascade");
});

async function post(path: string, payload: object = {}, headers: Record<string, string> = {}) {
  const answer = await api.ask({ method: "POST", url: `${base}${path}`, payload, headers }, api.keys.write);
  return { status: answer.statusCode, body: answer.json() };
}

async function get(path: string) {
  const answer = await api.ask({ method: "GET", url: `${base}${path}` }, api.keys.read);
  return { status: answer.statusCode, body: answer.json() };
}

describe("POST reingest", () => {
  test("answers 202 with id, counts and filters, and enqueues nothing by itself", async () => {
    const { status, body } = await post("/reingest", { types: ["scene"], batch_size: 50, max_cost_usd: 3 });

    expect(status).toBe(202);
    expect(body).toMatchObject({
      status: "planned",
      counts: { entities: 12, pairs: 24, skipped: 4, run: 20 },
      filters: { types: ["scene"], pipelines: ["base"], batch_size: 50, max_cost_usd: 3, dry_run: false },
    });
    const { rows } = await database.pool.query("select from pipeline_runs");
    expect(rows).toHaveLength(0);
  });

  test("answers a dry run with the plan and stores nothing", async () => {
    const { status, body } = await post("/reingest", { dry_run: true });

    expect(status).toBe(200);
    expect(body).toMatchObject({ tenant_id: api.tenant, totals: { pairs: 24, run: 20 } });
    expect((await get("/reingests")).body.items).toEqual([]);
  });

  test("answers the same reingest to the same key, be it in the header or in the body", async () => {
    const first = await post("/reingest", {}, { "idempotency-key": "monday" });
    const again = await post("/reingest", {}, { "idempotency-key": "monday" });
    const inBody = await post("/reingest", { key: "monday" });

    expect([first.status, again.status, inBody.status]).toEqual([202, 202, 202]);
    expect([again.body, inBody.body]).toEqual([first.body, first.body]);
    expect((await get("/reingests")).body.items).toHaveLength(1);
    expect(await post("/reingest", { key: "monday", force: true })).toMatchObject({
      status: 409,
      body: { code: "IDEMPOTENCY_CONFLICT" },
    });
  });

  test.each([
    ["an unknown pipeline", { pipelines: ["eccho"] }],
    ["base beside an enricher", { pipelines: ["base", "echo"] }],
    ["an unknown type", { types: ["poem"] }],
    ["an unknown field", { colour: "red" }],
    ["a batch of none", { batch_size: 0 }],
    ["a batch that is too large", { batch_size: 5_001 }],
    ["a cost that is negative", { max_cost_usd: -1 }],
    ["an id that is none", { ids: ["1"] }],
    ["a moment that is none", { changed_since: "yesterday" }],
    ["a NUL in a name", { pipelines: ["base\u0000"] }],
    ["a key with blanks", { key: "a b" }],
  ])("refuses %s", async (_, payload) => {
    expect(await post("/reingest", payload)).toMatchObject({ status: 400, body: { code: "INPUT_INVALID" } });
  });
});

describe("GET reingests", () => {
  test("lists them newest first, page by page, and by status", async () => {
    const ids: string[] = [];
    for (const key of ["a", "b", "c"]) ids.push((await post("/reingest", { key })).body.id);
    await post(`/reingests/${ids[1]}/pause`);
    const first = await get("/reingests?limit=2");
    const second = await get(`/reingests?limit=2&cursor=${first.body.next}`);

    expect([...first.body.items, ...second.body.items].map(({ id }) => id)).toEqual(ids.toReversed());
    expect(second.body.next).toBeNull();
    expect((await get("/reingests?status=paused")).body.items).toMatchObject([
      { id: ids[1], status: "paused" },
    ]);
  });

  test("shows one with its progress, and none of another tenant", async () => {
    const { id } = (await post("/reingest")).body;
    const foreign = await newReingest(database.pool);

    expect(await get(`/reingests/${id}`)).toMatchObject({
      status: 200,
      body: { id, status: "planned", filters: { pipelines: ["base"] }, progress: { total: 24, settled: 0 } },
    });
    expect(await get(`/reingests/${foreign.id}`)).toMatchObject({ status: 404, body: { code: "NOT_FOUND" } });
    expect(await get(`/reingests/${foreign.id}/progress`)).toMatchObject({ status: 404 });
  });
});

describe("steering", () => {
  test("pauses, resumes under another limit, and cancels", async () => {
    const { id } = (await post("/reingest")).body;

    expect(await post(`/reingests/${id}/pause`)).toMatchObject({ status: 200, body: { status: "paused" } });
    expect(await post(`/reingests/${id}/resume`, { max_tokens: 10 })).toMatchObject({
      status: 200,
      body: { status: "running", max_tokens: 10 },
    });
    expect(await post(`/reingests/${id}/cancel`)).toMatchObject({
      status: 200,
      body: { status: "cancelled", finished_at: expect.any(String) },
    });
  });

  test("needs no body", async () => {
    const paused = await newReingest(database.pool, { ...legalReingest.paused, tenant_id: api.tenant });
    const url = `${base}/reingests/${paused.id}/resume`;
    const answer = await api.ask({ method: "POST", url }, api.keys.write);

    expect(answer.statusCode).toBe(200);
  });

  test("refuses what is illegal with both states, and what is not there", async () => {
    const { id } = (await post("/reingest")).body;
    await post(`/reingests/${id}/cancel`);

    expect(await post(`/reingests/${id}/resume`)).toMatchObject({
      status: 409,
      body: { code: "STATE_TRANSITION", detail: expect.stringContaining("from cancelled to running") },
    });
    expect(await post("/reingests/00000000-0000-0000-0000-000000000000/pause")).toMatchObject({
      status: 404,
    });
  });

  test("refuses to resume what is over its limit", async () => {
    const reingest = await newReingest(database.pool, {
      ...legalReingest.paused,
      tenant_id: api.tenant,
      max_tokens: 5,
      paused_because: "max_tokens",
      produced_at: null,
    });
    await database.pool.query(
      `insert into reingest_tallies (tenant_id, reingest_id, pipeline, shard, tokens) values ($1, $2, 'echo', 0, 6)`,
      [api.tenant, reingest.id],
    );

    expect(await post(`/reingests/${reingest.id}/resume`)).toMatchObject({
      status: 409,
      body: { code: "LIMIT_REACHED" },
    });
    expect(await post(`/reingests/${reingest.id}/resume`, { max_tokens: 7 })).toMatchObject({ status: 200 });
  });
});

describe("progress as a stream", () => {
  let url: string;
  beforeAll(async () => {
    if (!api.app.server.listening) await api.app.listen({ port: 0, host: "127.0.0.1" });
    const address = api.app.server.address();
    if (address === null || typeof address === "string") throw new Error("the app does not listen");
    url = `http://127.0.0.1:${address.port}${base}`;
  });

  test("tells each change and ends with the end", async () => {
    const { id } = (await post("/reingest", { batch_size: 3 })).body;
    await using ear = await listenTo(`${url}/reingests/${id}/progress`, api.keys.read);
    expect(await ear.next()).toMatchObject({ event: "progress", data: { status: "planned", settled: 0 } });
    startProducer(context, database, { pendingBound: 3 });
    await using _worker = startWorker(context, database);
    const heard = await ear.rest();

    expect(heard.slice(0, -1).every(({ event }) => event === "progress")).toBe(true);
    expect(heard.at(-1)).toMatchObject({
      event: "end",
      data: { id, status: "completed", total: 24, settled: 24 },
    });
  });

  test("tells of what others do to it", async () => {
    const reingest = await newReingest(database.pool, { tenant_id: api.tenant, total: 5 });
    await using ear = await listenTo(`${url}/reingests/${reingest.id}/progress`, api.keys.read);
    await ear.next();
    await pauseReingest(context, reingest);

    expect(await ear.next()).toMatchObject({ event: "progress", data: { status: "paused" } });
  });

  test("of what has ended is one message", async () => {
    const reingest = await newReingest(database.pool, { ...legalReingest.completed, tenant_id: api.tenant });
    await untilEnded(database.pool, reingest);
    await using ear = await listenTo(`${url}/reingests/${reingest.id}/progress`, api.keys.read);

    expect(await ear.rest()).toMatchObject([{ event: "end", data: { status: "completed" } }]);
  });
});

import { randomUUID } from "node:crypto";
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { enqueueRuns } from "../../src/ledger/enqueue.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { openTestApp, type TestApp } from "../support/http.ts";
import { claim, request } from "../support/ledger.ts";
import { emptyLedger, runtime } from "../support/runtime.ts";

let database: TestDatabase;
let api: TestApp;

beforeAll(async () => {
  database = await testDatabase();
  api = await openTestApp(runtime(database));
});
beforeEach(() => emptyLedger(database));

const ask = async (method: "GET" | "POST" | "PATCH", path = "", payload?: unknown, token?: string) => {
  const sent = payload === undefined ? {} : { payload: JSON.stringify(payload) };
  const headers = { "content-type": "application/json" };
  const answer = await api.ask({ method, url: `/admin/tenants${path}`, headers, ...sent }, token);
  return { status: answer.statusCode, json: answer.json() };
};
const enqueue = (count: number, tenant_id: string) =>
  enqueueRuns(
    database.pool,
    Array.from({ length: count }, () => request({ pipeline: "echo", tenant_id })),
  );

const unsteered = { paused_at: null, weight: 1, max_running: null, flags: {} };

describe("the list", () => {
  test("is walked by its cursor, each tenant once, while more come", async () => {
    const tenants = [randomUUID(), randomUUID(), randomUUID()];
    for (const tenant of tenants) await enqueue(2, tenant);
    const seen: string[] = [];
    let query: string | undefined = "?limit=1";
    while (query !== undefined && seen.length < 10) {
      const { json } = await ask("GET", query);
      expect(json.items).toEqual([
        { tenant_id: json.items[0].tenant_id, ...unsteered, running: 0, pending: 2 },
      ]);
      seen.push(json.items[0].tenant_id);
      query = json.next === null ? undefined : `?limit=1&cursor=${json.next}`;
      await enqueue(2, "00000000-0000-4000-8000-000000000000"); // before all others: the walk has passed it
    }
    expect(seen).toEqual(tenants.toSorted());
  });

  test.each(["limit=0", "limit=x", "cursor=bm8", "tenant=me"])("refuses %s", async (query) => {
    expect(await ask("GET", `?${query}`)).toMatchObject({ status: 400, json: { code: "INPUT_INVALID" } });
  });

  test("is not for a tenant's key", async () => {
    expect((await ask("GET", "", undefined, api.keys.write)).status).toBe(403);
  });
});

describe("a tenant", () => {
  test("is shown with how it is steered and what waits, by pipeline", async () => {
    const { tenant } = api;
    await enqueue(3, tenant);
    await enqueue(5, api.foreign);
    await claim(database.pool, "echo", { limit: 2 });
    await ask("PATCH", `/${tenant}`, { weight: 2 });

    const { status, json } = await ask("GET", `/${tenant.toUpperCase()}`, undefined, api.keys.read);
    expect(status).toBe(200);
    expect(json).toMatchObject({ tenant_id: tenant, weight: 2, backlog: [{ pipeline: "echo" }] });
    expect(json.backlog[0].due + json.backlog[0].running).toBe(3);
  });

  test("of whom nothing is known is as all are at first", async () => {
    const tenant_id = randomUUID();
    expect(await ask("GET", `/${tenant_id}`)).toEqual({
      status: 200,
      json: { tenant_id, ...unsteered, backlog: [] },
    });
  });

  test("that is paused, by its own key, starts nothing until it is resumed", async () => {
    const [{ tenant }, { write }] = [api, api.keys];
    await enqueue(1, tenant);
    const paused = await ask("POST", `/${tenant}/pause`, undefined, write);

    expect(paused).toEqual({
      status: 200,
      json: { tenant_id: tenant, ...unsteered, paused_at: expect.any(String) },
    });
    expect(await ask("POST", `/${tenant}/pause`, undefined, write)).toEqual(paused);
    expect(await claim(database.pool, "echo")).toEqual([]);
    expect((await ask("POST", `/${tenant}/resume`, undefined, write)).json).toEqual({
      ...{ tenant_id: tenant, ...unsteered },
    });
    expect(await claim(database.pool, "echo")).toHaveLength(1);
  });

  test("is paused by nobody who may only read, nor by another tenant", async () => {
    for (const key of ["read", "foreignWrite", "foreignRead"] as const) {
      for (const what of ["pause", "resume"])
        expect((await ask("POST", `/${api.tenant}/${what}`, undefined, api.keys[key])).status).toBe(403);
    }
    expect((await ask("GET", `/${api.tenant}`)).json.paused_at).toBeNull();
  });

  test("has its share, cap and flags changed, one by one or at once", async () => {
    const patch = async (change: object) => (await ask("PATCH", `/${api.tenant}`, change)).json;
    await patch({ weight: 0.5, max_running: 4, flags: { moods: true, "a name with blanks": false } });
    expect(await patch({ flags: { moods: null, traits: true } })).toEqual({
      ...{ tenant_id: api.tenant, paused_at: null, weight: 0.5, max_running: 4 },
      flags: { "a name with blanks": false, traits: true },
    });
    expect(await patch({ max_running: null })).toMatchObject({ weight: 0.5, max_running: null });
  });

  test.each<[string, unknown]>([
    ["no body", undefined],
    ["a list", []],
    ["a weight of none", { weight: 0 }],
    ["a weight below what can be told", { weight: 1e-300 }],
    ["a weight without end", { weight: 1e300 }],
    ["a weight in text", { weight: "1" }],
    ["no weight", { weight: null }],
    ["a cap below none", { max_running: -1 }],
    ["a cap that the database cannot count", { max_running: 2 ** 53 }],
    ["a flag that is neither on nor off", { flags: { moods: "on" } }],
    ["a flag without a name", { flags: { "": true } }],
    ["a flag with a NUL", { flags: { "a\u0000": true } }],
    ["flags in a list", { flags: [true] }],
    [
      "more flags than anybody has",
      { flags: Object.fromEntries(Array.from({ length: 101 }, (_, n) => [n, true])) },
    ],
    ["an unknown field", { paused_at: null }],
  ])("refuses %s", async (_, body) => {
    expect(await ask("PATCH", `/${api.tenant}`, body)).toMatchObject({
      status: 400,
      json: { code: "INPUT_INVALID" },
    });
    expect((await database.pool.query("select from tenant_controls")).rowCount).toBe(0);
  });

  test("changes nothing of itself but pausing", async () => {
    expect((await ask("PATCH", `/${api.tenant}`, { weight: 9 }, api.keys.write)).status).toBe(403);
  });

  test.each(["me", "1", "%00", "' or '1'='1"])("whose id is none is refused: %s", async (id) => {
    const path = `/${encodeURIComponent(id)}`;
    for (const said of [
      await ask("GET", path),
      await ask("POST", `${path}/pause`),
      await ask("POST", `${path}/resume`),
      await ask("PATCH", path, {}),
    ])
      expect(said).toMatchObject({ status: 400, json: { code: "INPUT_INVALID" } });
  });
});

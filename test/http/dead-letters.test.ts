import { randomUUID } from "node:crypto";
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { failAttempt } from "../../src/ledger/attempt.ts";
import type { RunRequest } from "../../src/ledger/run.ts";
import { noUsage } from "../../src/pipeline.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { openTestApp, type TestApp } from "../support/http.ts";
import { newPipeline, runOf, started } from "../support/ledger.ts";
import { emptyLedger, runtime } from "../support/runtime.ts";

let database: TestDatabase;
let api: TestApp;

beforeAll(async () => {
  database = await testDatabase();
  api = await openTestApp(runtime(database));
});
beforeEach(() => emptyLedger(database));

async function deadLetter(given: Partial<RunRequest>, code = "GRAPH_FAILED") {
  const run = await started(database.pool, given);
  const failure = { code, message: "lost its place", retryInMs: null, counts: true, usage: noUsage };
  await failAttempt(database.pool, run, failure);
  return run;
}

const of = (tenant: string) => `/admin/tenants/${tenant}/dead-letters`;
const list = async (url: string, token?: string) => (await api.ask({ url }, token)).json();
const redrive = async (url: string, payload?: unknown, token?: string) => {
  const sent = payload === undefined ? {} : { payload: JSON.stringify(payload) };
  const headers = { "content-type": "application/json" };
  const answer = await api.ask({ method: "POST", url: `${url}/redrive`, headers, ...sent }, token);
  return { status: answer.statusCode, json: answer.json() };
};

describe("the list", () => {
  test("is by pipeline and cause, the most frequent first, of one tenant or of all", async () => {
    const pipeline = newPipeline();
    const { tenant, foreign } = api;
    for (const tenant_id of [tenant, tenant, foreign]) await deadLetter({ tenant_id, pipeline });
    await deadLetter({ tenant_id: tenant, pipeline }, "MODEL_REFUSED");
    const cause = { pipeline, error_message: "lost its place", first_at: expect.any(String) };

    expect(await list(of(tenant), api.keys.read)).toEqual({
      items: [
        { ...cause, error_code: "GRAPH_FAILED", runs: 2, last_at: expect.any(String) },
        { ...cause, error_code: "MODEL_REFUSED", runs: 1, last_at: expect.any(String) },
      ],
      next: null,
    });
    expect((await list("/admin/dead-letters")).items[0]).toMatchObject({ runs: 3 });
    expect((await list(`${of(tenant)}?cause=MODEL_REFUSED&pipeline=${pipeline}`)).items).toHaveLength(1);
    expect((await list(`${of(tenant)}?pipeline=other`)).items).toEqual([]);
    expect((await list(of(randomUUID()))).items).toEqual([]);
  });

  test.each(["cause=a%00b", "limit=1", "pipeline=a&pipeline=b"])("refuses %s", async (query) => {
    for (const url of [of(api.tenant), "/admin/dead-letters"])
      expect(await list(`${url}?${query}`)).toMatchObject({ status: 400, code: "INPUT_INVALID" });
  });
});

describe("redrive", () => {
  test("takes what is named, of this tenant alone, and no more than its limit", async () => {
    const [pipeline, { tenant, foreign }] = [newPipeline(), api];
    const theirs = await deadLetter({ tenant_id: foreign, pipeline });
    const refused = await deadLetter({ tenant_id: tenant, pipeline }, "MODEL_REFUSED");
    for (let i = 0; i < 3; i++) await deadLetter({ tenant_id: tenant, pipeline });
    const { write } = api.keys;

    expect(await redrive(of(tenant), { cause: "GRAPH_FAILED", limit: 2 }, write)).toEqual({
      status: 200,
      json: { redriven: 2 },
    });
    expect((await redrive(of(tenant), { cause: "GRAPH_FAILED", pipeline }, write)).json).toEqual({
      redriven: 1,
    });
    expect((await runOf(database.pool, refused)).status).toBe("failed");
    expect((await redrive(of(tenant), {}, write)).json).toEqual({ redriven: 1 });
    expect((await runOf(database.pool, theirs)).status).toBe("failed");
  });

  test("of all tenants takes those of each", async () => {
    for (const tenant_id of [api.tenant, api.foreign]) await deadLetter({ tenant_id });
    expect((await redrive("/admin/dead-letters", {})).json).toEqual({ redriven: 2 });
  });

  test.each<[string, unknown]>([
    ["no body", undefined],
    ["null", null],
    ["a list", []],
    ["an unknown field", { pipelin: "base" }],
    ["a limit of none", { limit: 0 }],
    ["a limit too high", { limit: 10_001 }],
    ["a limit in text", { limit: "5" }],
    ["a NUL", { cause: "a\u0000b" }],
    ["half a surrogate pair", { pipeline: "\ud800" }],
    ["a pipeline without end", { pipeline: "x".repeat(101) }],
  ])("refuses %s", async (_, body) => {
    const run = await deadLetter({ tenant_id: api.tenant });
    for (const url of [of(api.tenant), "/admin/dead-letters"])
      expect(await redrive(url, body)).toMatchObject({ status: 400, json: { code: "INPUT_INVALID" } });
    expect((await runOf(database.pool, run)).status).toBe("failed");
  });

  test("is not for a key that may only read, nor for one of another tenant", async () => {
    const run = await deadLetter({ tenant_id: api.tenant });
    const { read, write, foreignWrite } = api.keys;
    expect((await redrive(of(api.tenant), {}, read)).status).toBe(403);
    expect((await redrive(of(api.tenant), {}, foreignWrite)).status).toBe(403);
    expect((await redrive("/admin/dead-letters", {}, write)).status).toBe(403);
    expect((await runOf(database.pool, run)).status).toBe("failed");
  });
});

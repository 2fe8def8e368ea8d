import { randomUUID } from "node:crypto";
import { beforeAll, describe, expect, test } from "vitest";
import { failAttempt, succeedRun } from "../../src/ledger/attempt.ts";
import { enqueueRuns } from "../../src/ledger/enqueue.ts";
import type { RunRequest } from "../../src/ledger/run.ts";
import { noUsage } from "../../src/pipeline.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { openTestApp, type TestApp } from "../support/http.ts";
import { again, claimed, newPipeline, only, request, runOf, stamp, started } from "../support/ledger.ts";
import { runtime } from "../support/runtime.ts";

let database: TestDatabase;
let api: TestApp;

beforeAll(async () => {
  database = await testDatabase();
  api = await openTestApp(runtime(database));
});

const runsOf = (tenant: string, rest = "") => `/admin/tenants/${tenant}/runs${rest}`;
const get = async (url: string) => {
  const { statusCode, body } = await api.ask({ url });
  return { status: statusCode, json: JSON.parse(body) };
};
const post = async (url: string) => {
  const { statusCode, body } = await api.ask({ method: "POST", url });
  return { status: statusCode, json: JSON.parse(body) };
};
const enqueue = async (given: Partial<RunRequest> = {}) =>
  only(await enqueueRuns(database.pool, [request({ pipeline: newPipeline(), ...given })])).id;

async function deadLetter(given: Partial<RunRequest> = {}) {
  const run = await started(database.pool, given);
  const usage = { ...noUsage, tokens_in: 12, cost_usd: 0.0123 };
  const failure = { code: "GRAPH_FAILED", message: "lost its place", retryInMs: null, counts: true, usage };
  await failAttempt(database.pool, run, failure);
  return run;
}

describe("the list", () => {
  test("is walked by its cursor, each run once, while more are made", async () => {
    const tenant_id = randomUUID();
    const ids = [await enqueue({ tenant_id }), await enqueue({ tenant_id }), await enqueue({ tenant_id })];
    const seen: string[] = [];
    let url: string | undefined = runsOf(tenant_id, "?limit=1");
    while (url !== undefined && seen.length < 10) {
      const { json } = await get(url);
      seen.push(only<{ id: string }>(json.items).id);
      url = json.next === null ? undefined : runsOf(tenant_id, `?limit=1&cursor=${json.next}`);
      await enqueue({ tenant_id });
    }
    expect(seen).toEqual(ids.toSorted().toReversed());
  });

  test("takes what is asked for, by pipeline, status, entity and reingest", async () => {
    const tenant_id = randomUUID();
    const pipeline = newPipeline();
    const dead = await deadLetter({ tenant_id, pipeline });
    const [reingest_id, other] = [randomUUID(), await enqueue({ tenant_id, pipeline })];
    const part = await enqueue({ tenant_id, reingest_id });
    const ids = async (query: string) =>
      (await get(runsOf(tenant_id, `?${query}`))).json.items.map(({ id }: { id: string }) => id).toSorted();

    expect(await ids(`pipeline=${pipeline}`)).toEqual([dead.id, other].toSorted());
    expect(await ids(`pipeline=${pipeline}&status=failed`)).toEqual([dead.id]);
    expect(await ids(`source_type=scene&source_id=${dead.source_id.toUpperCase()}`)).toEqual([dead.id]);
    expect(await ids(`reingest_id=${reingest_id}`)).toEqual([part]);
    expect(await ids("pipeline=';drop table pipeline_runs;--")).toEqual([]);
  });

  test("holds each run with its errors and what it used", async () => {
    const run = await deadLetter();
    const { status, json } = await get(runsOf(run.tenant_id));
    expect(status).toBe(200);
    expect(json).toEqual({ next: null, items: [expect.objectContaining({ id: run.id })] });
    expect(json.items[0]).toMatchObject({
      ...{ tenant_id: run.tenant_id, pipeline: run.pipeline, status: "failed", outcome: null, attempt: 1 },
      ...{ max_attempts: 3, worker: null, tokens_in: 12, cost_usd: 0.0123, error_code: "GRAPH_FAILED" },
      errors: [{ attempt: 1, at: expect.any(String), code: "GRAPH_FAILED", message: "lost its place" }],
      finished_at: expect.stringMatching(/^\d{4}-.*Z$/),
    });
    expect(json.items[0]).not.toHaveProperty("lease_token");
  });

  test.each([
    ["a limit of none", "limit=0"],
    ["a limit too high", "limit=201"],
    ["a limit that is no number", "limit=1e999"],
    ["a cursor of nobody", "cursor=bm90aGluZw"],
    ["a cursor that is no id", `cursor=${Buffer.from('"1; drop table x"').toString("base64url")}`],
    ["an unknown status", "status=lost"],
    ["an unknown source type", `source_type=ship&source_id=${randomUUID()}`],
    ["half an entity", `source_id=${randomUUID()}`],
    ["an id that is none", "reingest_id=1"],
    ["a NUL", "pipeline=a%00b"],
    ["what there is not", "pipelin=base"],
    ["a filter twice", "pipeline=a&pipeline=b"],
  ])("refuses %s", async (_, query) => {
    const { status, json } = await get(runsOf(randomUUID(), `?${query}`));
    expect({ status, code: json.code }).toEqual({ status: 400, code: "INPUT_INVALID" });
  });

  test("refuses a tenant that is no uuid", async () => {
    expect((await get(runsOf("me"))).status).toBe(400);
  });
});

describe("a run", () => {
  test("is shown whole, with its prompts' and its input's hash", async () => {
    const run = await deadLetter();
    const { status, json } = await get(runsOf(run.tenant_id, `/${run.id.toUpperCase()}`));
    expect(status).toBe(200);
    expect(json).toMatchObject({
      id: run.id,
      prompt_hash: "p",
      input_hash: "i",
      fingerprint: "f",
      cause: null,
      question: null,
      questions: [],
    });
    expect(json.errors).toHaveLength(1);
  });

  test.each([
    ["that is not there", 404],
    ["of another tenant", 404],
    ["whose id is none", 400],
  ])("%s is answered with %i, whatever is done with it", async (which, expected) => {
    const theirs = await deadLetter();
    const id = { "that is not there": randomUUID(), "of another tenant": theirs.id }[which] ?? "..%2f..";
    const tenant = randomUUID();

    expect((await get(runsOf(tenant, `/${id}`))).status).toBe(expected);
    expect((await post(runsOf(tenant, `/${id}/retry`))).status).toBe(expected);
    expect((await post(runsOf(tenant, `/${id}/cancel`))).status).toBe(expected);
    expect((await runOf(database.pool, theirs)).status).toBe("failed");
  });
});

describe("retry", () => {
  test("makes a dead letter pending", async () => {
    const run = await deadLetter();
    expect(await post(runsOf(run.tenant_id, `/${run.id}/retry`))).toEqual({
      status: 200,
      json: { id: run.id, status: "pending" },
    });
    expect((await runOf(database.pool, run)).status).toBe("pending");
  });

  test("of one that has not failed is a conflict that names both states", async () => {
    const run = await claimed(database.pool);
    await succeedRun(database.pool, run, { outcome: "completed", stamp, usage: noUsage });
    expect(await post(runsOf(run.tenant_id, `/${run.id}/retry`))).toMatchObject({
      status: 409,
      json: { code: "STATE_TRANSITION", detail: expect.stringContaining("from success to pending") },
    });
  });

  test("of one whose work is wanted already is a conflict that names the other", async () => {
    const run = await deadLetter();
    const other = only(await enqueueRuns(database.pool, [again(run)]));
    expect(await post(runsOf(run.tenant_id, `/${run.id}/retry`))).toMatchObject({
      status: 409,
      json: { code: "STATE_TRANSITION", detail: expect.stringContaining(other.id) },
    });
  });
});

describe("cancel", () => {
  test("ends a pending run at once, and a second time is a conflict", async () => {
    const tenant_id = randomUUID();
    const id = await enqueue({ tenant_id });
    expect(await post(runsOf(tenant_id, `/${id}/cancel`))).toEqual({
      status: 200,
      json: { id, status: "cancelled" },
    });
    expect(await post(runsOf(tenant_id, `/${id}/cancel`))).toMatchObject({
      status: 409,
      json: { code: "STATE_TRANSITION", detail: expect.stringContaining("from cancelled to cancelled") },
    });
  });

  test("of one that runs is accepted, and its worker is asked", async () => {
    const run = await started(database.pool);
    expect(await post(runsOf(run.tenant_id, `/${run.id}/cancel`))).toEqual({
      status: 202,
      json: { id: run.id, status: "running" },
    });
    const { json } = await get(runsOf(run.tenant_id, `/${run.id}`));
    expect(json).toMatchObject({
      status: "running",
      worker: "tester",
      cancel_requested_at: expect.any(String),
    });
  });
});

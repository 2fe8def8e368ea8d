/** What attempts ask of models, as the ledger has it, and budgets that bound it. */

import { randomUUID } from "node:crypto";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { END, START, StateGraph } from "@langchain/langgraph";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { one } from "../../src/db.ts";
import { LoregraphError } from "../../src/errors.ts";
import { makeFork } from "../../src/forks/make.ts";
import { openFork } from "../../src/forks/open.ts";
import { acceptEntities } from "../../src/intake.ts";
import { assertBudget, listBudgets, setBudget } from "../../src/ledger/budgets.ts";
import { type CallFigures, callsOf, deleteOldCalls, foldSpends, noteCalls } from "../../src/ledger/calls.ts";
import { costsOf, totalCostOf } from "../../src/ledger/cost.ts";
import { listRuns } from "../../src/ledger/read.ts";
import { findRunThread } from "../../src/ledger/threads.ts";
import { openModels } from "../../src/models/models.ts";
import { definePipeline, Entity, noUsage, type Pipeline } from "../../src/pipeline.ts";
import { commitEnding } from "../../src/worker/commit.ts";
import type { Context } from "../../src/worker/context.ts";
import type { GraphEnding } from "../../src/worker/ending.ts";
import { shared } from "../../src/worker/together.ts";
import { completion, embeddings, serverAnswering, settingsFor } from "../models/server.ts";
import { scene } from "../support/content.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { claimed } from "../support/ledger.ts";
import { echo } from "../support/pipelines.ts";
import { newReingest } from "../support/reingests.ts";
import { emptyLedger, forever, gate, runAbout, runtime, startWorker, takeScene } from "../support/runtime.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});
afterEach(async () => {
  await emptyLedger(database);
  await database.pool.query("truncate model_calls, model_spends, budgets");
});

/** A call costs three cents: 1,000 tokens in, 100 out. */
const cents = 0.03;
const prices = join(mkdtempSync(join(tmpdir(), "prices-")), "prices.json");
writeFileSync(prices, JSON.stringify({ "gpt-4o-mini": { in: 20, out: 100 }, "two-wide": { embedding: 1 } }));

async function modelServer(
  answer: () => ReturnType<typeof completion> = () => completion({ content: "yes" }),
) {
  return await serverAnswering(({ path, body }) =>
    path === "/v1/embeddings" ? embeddings((body.input as string[]).map(() => [0.5, 0.5])) : answer(),
  );
}

function asking(url: string, ...pipelines: readonly Pipeline[]): Context {
  const settings = settingsFor(url, { embeddingModel: "two-wide", prices });
  return { ...runtime(database, ...pipelines), models: openModels(settings) };
}

const dollar: CallFigures = {
  ...{ node: "begin", kind: "chat", model: "gpt-4o-mini", from: "provider", calls: 1, key: "k", ms: 1 },
  ...{ tokens_in: 1, tokens_cached: 0, tokens_out: 1, cost_usd: 1, saved_usd: 0 },
};

const Two = z.object({ said: z.string() });
const Half = Entity.extend({ heard: z.string() });

const textOf = (message: { readonly text: string } | undefined) => message?.text ?? "";

/** Asks two questions about each entity, one a node. */
const twoQuestions = (definition: { name?: string; checkpoints?: { history: true } } = {}) =>
  definePipeline({
    name: "echo",
    version: 1,
    trigger: { on: "entity.ingested" },
    retries: { attempts: 3, base: 1, most: 5 },
    ...definition,
    output: Two,
    graph: ({ model }) => {
      const ask = async (question: string) => textOf(await model?.invoke(question));
      return new StateGraph({ state: Half.extend(Two.shape), input: Entity, output: Two })
        .addNode("begin", async ({ source_id }) => ({ heard: await ask(`first of ${source_id}`) }), {
          input: Entity,
        })
        .addNode("finish", async ({ source_id }) => ({ said: await ask(`second of ${source_id}`) }), {
          input: Half,
        })
        .addEdge(START, "begin")
        .addEdge("begin", "finish")
        .addEdge("finish", END);
    },
  });

async function work(context: Context): Promise<void> {
  await using worker = startWorker(context, database);
  await worker.untilDone();
}

const asked = (requests: Awaited<ReturnType<typeof modelServer>>["requests"]) =>
  requests.flatMap(({ body }) => (body.messages as { content: string }[] | undefined)?.[0]?.content ?? []);

test("notes each call of a run with its node, its model and what it cost, and never what was said", async () => {
  const server = await modelServer();
  const context = asking(server.url, twoQuestions());
  const about = await takeScene(context);

  await work(context);

  const run = await runAbout(context, about);
  expect(run.errors).toEqual([]);
  const calls = await callsOf(database.pool, about.tenant_id, run.id);
  expect(calls).toMatchObject(
    ["begin", "finish"].map((node, nth) => ({
      attempt: 1,
      ordinal: nth + 1,
      node,
      kind: "chat",
      model: "gpt-4o-mini",
      source: "provider",
      calls: 1,
      tokens_in: 1_000,
      tokens_cached: 200,
      tokens_out: 100,
      cost_usd: cents,
      saved_usd: 0,
    })),
  );
  expect(run.cost_usd).toBeCloseTo(2 * cents, 9);
  expect(JSON.stringify(calls)).not.toContain(about.source_id);
});

test("adds up what a tenant's calls cost by pipeline and model, embeddings and failed attempts among them", async () => {
  let times = 0;
  const server = await modelServer(() => completion({ content: times++ === 0 ? "" : "yes" }));
  const context = asking(server.url, twoQuestions());
  const about = await takeScene(context);
  await takeScene(context);

  await work(context);

  const { tenant_id } = about;
  const costs = await costsOf(database.pool, tenant_id, {}, ["pipeline", "model"]);
  const run = await runAbout(context, about);
  const calls = await callsOf(database.pool, tenant_id, run.id);
  expect(costs).toMatchObject([
    { pipeline: "echo", model: "gpt-4o-mini", calls: calls.length, day: null },
    { pipeline: "base", model: "two-wide", calls: 1, tokens_in: 2 },
  ]);
  expect(costs[0]?.cost_usd).toBeCloseTo(calls.length * cents, 9);
  expect(await totalCostOf(database.pool, tenant_id, {})).toMatchObject({ calls: calls.length + 1 });
  expect(await totalCostOf(database.pool, tenant_id, { until: "2020-01-01" })).toMatchObject({ calls: 0 });
  expect(await costsOf(database.pool, randomUUID(), {}, ["day"])).toEqual([]);
});

test("notes what an attempt asked that failed, and what one asked that was given back", async () => {
  const server = await modelServer(() => completion({ content: "" }));
  const context = asking(server.url, twoQuestions());
  const failed = await takeScene(context);
  await work(context);

  const run = await runAbout(context, failed);
  expect(run).toMatchObject({ status: "failed", attempt: 3, model_calls: 3 });
  expect((await callsOf(database.pool, failed.tenant_id, run.id)).map(({ attempt }) => attempt)).toEqual([
    1, 2, 3,
  ]);

  const here = gate();
  const stuck = echo(async (_, __, { model }) => {
    await model?.invoke("Who came?").catch(() => {});
    void here.pass();
    return await forever();
  });
  const given = asking(server.url, stuck);
  const about = await takeScene(given);
  const worker = startWorker(given, database);
  await here.reached;
  await worker.stop();

  const released = await runAbout(given, about);
  expect(released).toMatchObject({ status: "pending", attempt: 0, model_calls: 1 });
  expect(await callsOf(database.pool, about.tenant_id, released.id)).toHaveLength(1);
});

test.each<GraphEnding>([
  { kind: "retry", error: new LoregraphError("GRAPH_FAILED", "it failed"), counts: true },
  { kind: "hopeless", error: new LoregraphError("MODEL_REFUSED", "no") },
  { kind: "cancelled", reason: "cancelled on request" },
  { kind: "released" },
  { kind: "lost" },
])("notes once what an attempt asked that ends, $kind, after its lease was lost", async (ending) => {
  const context = shared(runtime(database, twoQuestions()));
  const run = await claimed(database.pool, { pipeline: "echo" });
  await database.pool.query("update pipeline_runs set lease_token = gen_random_uuid()");
  const calls = [{ ...dollar, run, ordinal: 1 }];
  const usage = { ...noUsage, model_calls: 1, cost_usd: 1 };
  const ended = { run, pipeline: twoQuestions(), entity: undefined, ending, usage, calls };

  for (let times = 0; times < 2; times++) await commitEnding(context, ended, new AbortController().signal);

  expect(await callsOf(database.pool, run.tenant_id, run.id)).toHaveLength(1);
  expect(await totalCostOf(database.pool, run.tenant_id, {})).toMatchObject({ calls: 1, cost_usd: 1 });
  const [held] = await listRuns(database.pool, { tenant_id: run.tenant_id, limit: 1 });
  expect(held).toMatchObject({ status: "running", cost_usd: 0 });
});

test("notes what a fork asks, with its budget before it", async () => {
  const server = await modelServer();
  const context = asking(server.url, twoQuestions({ checkpoints: { history: true } }));
  const { tenant_id, ...about } = await takeScene(context);
  await work(context);
  const run = await runAbout(context, about);
  const thread = await findRunThread(database.pool, run.id);
  if (!thread) throw new Error("expected the run's thread, got: none");
  const { rows } = await database.pool.query(
    "select checkpoint_id from checkpoints where thread_id = $1 order by checkpoint_id limit 1",
    [run.id],
  );
  const fork = await makeFork(context, thread, { checkpoint_id: rows[0].checkpoint_id, by: "me" });
  const goOn = async () =>
    await (await openFork(context, fork)).graph.invoke(null, { configurable: { thread_id: fork.id } });
  const budget = { tenant_id, pipeline: "echo", per: "day" } as const;

  await setBudget(database.pool, budget, 0);
  await expect(goOn()).rejects.toMatchObject({ code: "BUDGET_SPENT" });
  expect(asked(server.requests)).toHaveLength(2);
  await setBudget(database.pool, budget, 1);
  await goOn();

  expect((await callsOf(database.pool, tenant_id, fork.id)).map(({ node }) => node)).toEqual([
    "begin",
    "finish",
  ]);
  const [echoed] = await costsOf(database.pool, tenant_id, {}, ["pipeline"]);
  expect(echoed).toMatchObject({ pipeline: "echo", calls: 4, cost_usd: expect.closeTo(4 * cents, 9) });
});

test("adds up the calls of an attempt that makes thousands", async () => {
  const server = await modelServer();
  const many = echo(async (_, __, { model }) => {
    for (let nth = 0; nth < 105; nth++)
      await Promise.all(Array.from({ length: 10 }, (_, at) => model?.invoke(`${nth} ${at}`)));
    return { said: "x" };
  });
  const context = asking(server.url, many);
  const about = await takeScene(context);

  await work(context);

  const run = await runAbout(context, about);
  const calls = await callsOf(database.pool, about.tenant_id, run.id);
  expect(calls).toHaveLength(1_001);
  expect(calls.at(-1)).toMatchObject({ calls: 50, key: null, cost_usd: expect.closeTo(50 * cents, 9) });
  expect(run.model_calls).toBe(1_050);
}, 120_000);

test("keeps the sums when single calls are deleted, and makes one row of past days", async () => {
  const server = await modelServer();
  const context = asking(server.url, twoQuestions());
  const about = await takeScene(context);
  await work(context);
  const before = await totalCostOf(database.pool, about.tenant_id, {});
  await database.pool.query("update model_calls set at = now() - interval '31 days'");
  await database.pool.query("update model_spends set day = day - 31, shard = 3");
  await database.pool.query(
    "insert into model_spends select tenant_id, day, pipeline, reingest_id, model, source, 0, calls, tokens_in, tokens_cached, tokens_out, cost_usd, saved_usd from model_spends",
  );

  expect(await deleteOldCalls(database.pool)).toBe(3);
  await foldSpends(database.pool);

  expect(await callsOf(database.pool, about.tenant_id, (await runAbout(context, about)).id)).toEqual([]);
  const after = await totalCostOf(database.pool, about.tenant_id, {});
  expect(after.cost_usd).toBeCloseTo(2 * before.cost_usd, 9);
  const rows = await one(
    database.pool,
    z.object({ rows: z.coerce.number() }),
    "select count(*) as rows from model_spends",
  );
  expect(rows).toEqual({ rows: 2 });
});

describe("a budget", () => {
  const runs = 40;

  async function takeScenes(context: Context, tenant_id: string, count = runs): Promise<void> {
    const entities = Array.from({ length: count }, () => scene());
    await acceptEntities(database.pool, context.registry, { tenant_id, source: "test", entities });
  }

  test("of $1.00 stops three workers at no more than that and what was in flight, and loses nothing", async () => {
    let [inFlight, most] = [0, 0];
    const server = await serverAnswering(({ path, body }) => {
      most = Math.max(most, ++inFlight);
      setTimeout(() => inFlight--, 0);
      return path === "/v1/embeddings"
        ? embeddings((body.input as string[]).map(() => [0.5, 0.5]))
        : completion({ content: "yes" });
    });
    const contexts = [1, 2, 3].map(() => asking(server.url, twoQuestions()));
    const [context] = contexts;
    if (context === undefined) throw new Error("expected a context");
    const tenant_id = randomUUID();
    await setBudget(database.pool, { tenant_id, pipeline: "echo", per: "day" }, 1);
    await takeScenes(context, tenant_id);
    const slots = 4;
    const workers = contexts.map((each) => startWorker(each, database, { concurrency: slots }));

    await Promise.all(workers.map((worker) => worker.untilIdle()));

    const spentAt = asked(server.requests).length * cents;
    expect(spentAt).toBeGreaterThanOrEqual(1);
    expect(spentAt).toBeLessThanOrEqual(1 + contexts.length * slots * cents);
    const [budget] = await listBudgets(database.pool, tenant_id);
    expect(budget?.spent_usd).toBeCloseTo(spentAt, 9);
    expect(budget?.holds_until).toEqual(budget?.period_ends_at);
    const held = await listRuns(database.pool, { tenant_id, pipeline: "echo", limit: 1_000 });
    expect(new Set(held.map(({ status }) => status))).toEqual(new Set(["pending", "success"]));
    expect(held.filter(({ status }) => status === "pending").map(({ attempt }) => attempt)).toEqual(
      held.filter(({ status }) => status === "pending").map(() => 0),
    );
    expect(held.flatMap(({ errors }) => errors.map(({ code }) => code))).toContain("BUDGET_SPENT");

    await setBudget(database.pool, { tenant_id, pipeline: "echo", per: "day" }, 100);
    await Promise.all(workers.map((worker) => worker.untilDone()));

    const all = await listRuns(database.pool, { tenant_id, pipeline: "echo", limit: 1_000 });
    expect(all).toHaveLength(runs);
    expect(all.filter(({ status, attempt }) => status !== "success" || attempt !== 1)).toEqual([]);
    // What a stopped attempt had been answered was kept: nothing was asked twice.
    expect(asked(server.requests)).toHaveLength(2 * runs);
    expect(new Set(asked(server.requests)).size).toBe(2 * runs);
    for (const worker of workers) await worker.stop();
  }, 120_000);

  test("holds what it covers, and nothing else", async () => {
    const server = await modelServer();
    const context = asking(server.url, twoQuestions(), twoQuestions({ name: "other" }));
    const [poor, rich] = [randomUUID(), randomUUID()];
    await setBudget(database.pool, { tenant_id: poor, pipeline: "echo", per: "month" }, 0);
    await takeScenes(context, poor, 2);
    await takeScenes(context, rich, 2);
    await using worker = startWorker(context, database);

    await worker.untilIdle();

    const statuses = async (tenant_id: string, pipeline: string) =>
      (await listRuns(database.pool, { tenant_id, pipeline })).map(({ status }) => status);
    expect(await statuses(poor, "echo")).toEqual(["pending", "pending"]);
    expect(await statuses(poor, "other")).toEqual(["success", "success"]);
    expect(await statuses(rich, "echo")).toEqual(["success", "success"]);
  });

  test("of a pipeline covers its version that is tried on a share, and one of a reingest what is part of that", async () => {
    const tenant_id = randomUUID();
    const [reingest_id, other] = [randomUUID(), randomUUID()];
    const tried = await claimed(database.pool, { tenant_id, pipeline: "echo@2" });
    await noteCalls(database.pool, [
      { ...dollar, run: tried, ordinal: 1 },
      { ...dollar, run: { ...tried, id: randomUUID(), pipeline: "other", reingest_id }, ordinal: 1 },
    ]);

    const ofPipeline = await setBudget(database.pool, { tenant_id, pipeline: "echo", per: "day" }, 1);
    const ofReingest = await setBudget(database.pool, { tenant_id, reingest_id, per: "month" }, 1);

    expect([ofPipeline, ofReingest]).toMatchObject([{ spent_usd: 1 }, { spent_usd: 1 }]);
    const spent = { code: "BUDGET_SPENT" };
    await expect(assertBudget(database.pool, tried)).rejects.toMatchObject(spent);
    const part = { tenant_id, pipeline: "other", reingest_id };
    await expect(assertBudget(database.pool, part)).rejects.toMatchObject(spent);
    await assertBudget(database.pool, { ...part, reingest_id: other });
    await assertBudget(database.pool, { ...part, reingest_id: null });
  });

  test("of a reingest holds its runs, and no others of their pipeline", async () => {
    const server = await modelServer();
    const context = asking(server.url, twoQuestions());
    const tenant_id = randomUUID();
    const [{ id: reingest_id }, { id: other }] = [
      await newReingest(database.pool, { tenant_id }),
      await newReingest(database.pool, { tenant_id }),
    ];
    await setBudget(database.pool, { tenant_id, reingest_id, per: "day" }, 0);
    await takeScenes(context, tenant_id, 3);
    await database.pool.query(
      `update pipeline_runs set reingest_id = case n when 1 then $1::uuid when 2 then $2::uuid end
       from (
         select id as run, row_number() over (order by id) as n from pipeline_runs where pipeline = 'base'
       ) numbered
       where id = run`,
      [reingest_id, other],
    );
    await using worker = startWorker(context, database);

    await worker.untilIdle();

    const left = await listRuns(database.pool, { tenant_id, status: "pending" });
    expect(left.map((run) => run.reingest_id)).toEqual([reingest_id]);
  });

  test("lets its work go on by itself when its period has ended", async () => {
    const server = await modelServer();
    const context = asking(server.url, twoQuestions());
    const tenant_id = randomUUID();
    await setBudget(database.pool, { tenant_id, per: "day" }, cents);
    await takeScenes(context, tenant_id, 1);
    await using worker = startWorker(context, database);
    await worker.untilIdle();
    expect(asked(server.requests)).toHaveLength(1);

    // A day later: what was spent is of yesterday, and what holds has run out.
    await database.pool.query("update model_spends set day = day - 1");
    await database.pool.query("update budgets set spent_until = now() - interval '1 second'");
    await database.pool.query("update budgets set usd = 1");
    await worker.untilDone();

    expect(asked(server.requests)).toHaveLength(2);
  });
});

import { afterEach, beforeAll, expect, test, vi } from "vitest";
import { openPool, transaction } from "../../src/db.ts";
import { enqueueRuns } from "../../src/ledger/enqueue.ts";
import { reapExpired } from "../../src/ledger/reap.ts";
import { openModels } from "../../src/models/models.ts";
import { serverAnswering, settingsFor } from "../models/server.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { again, claimed, runOf } from "../support/ledger.ts";
import { echo } from "../support/pipelines.ts";
import { proxyTo } from "../support/proxy.ts";
import { emptyLedger, gate, runAbout, runtime, startWorker, takeScene } from "../support/runtime.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});
afterEach(() => emptyLedger(database));

/** The connections that heartbeats have open. */
async function heartbeats(): Promise<number | null> {
  const { rowCount } = await database.pool.query(
    "select from pg_stat_activity where datname = current_database() and application_name = 'loregraph heartbeat'",
  );
  return rowCount;
}

test("a graph keeps its lease though nobody gets a connection of the shared pool any more", async () => {
  const here = gate();
  const pipeline = echo(
    async () => {
      await here.pass();
      return { said: "x" };
    },
    { trigger: { on: "entity.changed" } },
  );
  const pool = openPool(database.url, { max: 2 });
  const exhausted = runtime({ pool, url: database.url }, pipeline);
  const worker = startWorker(exhausted, database, { leaseMs: 1_000, drainMs: 5_000 });
  await using _reaper = startWorker(runtime(database), database, { leaseMs: 200, pipelines: ["base"] });
  const scene = await takeScene(runtime(database, pipeline));
  await here.reached;
  const held = [await pool.connect(), await pool.connect()];
  const run = await runAbout(runtime(database), scene);
  const before = await runOf(database.pool, run);
  await untilRenewedFor(run, 1_000);

  expect((await runOf(database.pool, run)).lease_token).toBe(before.lease_token);
  for (const client of held) client.release();
  here.open();
  await worker.untilDone();
  expect(await runAbout(runtime(database), scene)).toMatchObject({
    status: "success",
    attempt: 1,
    errors: [],
  });
  await worker.stop();
  await pool.end();
});

test("a graph keeps its lease though a reaper must wait for whoever enqueues what it reaps", async () => {
  const here = gate();
  const context = runtime(database, echo(here.pass, { trigger: { on: "entity.changed" } }));
  const dead = await claimed(database.pool, {}, { leaseMs: -1 });
  await transaction(database.pool, async (db) => {
    await enqueueRuns(db, [again(dead)]);
    await using _worker = startWorker(context, database, { leaseMs: 1_000 });
    const scene = await takeScene(context);
    await here.reached;
    await untilRenewedFor(await runAbout(context, scene), 2_000);
  });

  expect((await runOf(database.pool, dead)).status).toBe("running");
});

/** Resolves once the run's lease holds so many milliseconds longer than it does now. */
async function untilRenewedFor(run: { readonly id: string }, ms: number): Promise<void> {
  const end = async () => (await runOf(database.pool, run)).lease_expires_at?.getTime() ?? 0;
  const outlived = (await end()) + ms;
  await vi.waitUntil(async () => (await end()) > outlived, { timeout: 10_000 });
}

test("a worker that has stopped keeps no connection", async () => {
  const worker = startWorker(runtime(database), database);
  await vi.waitUntil(async () => (await heartbeats()) === 1);
  await worker.stop();

  await vi.waitUntil(async () => (await heartbeats()) === 0);
});

test("an attempt that nobody can tell whether it holds its lease asks no model", async () => {
  const here = gate();
  const server = await serverAnswering(() => ({ status: 500, body: {} }));
  const proxy = await proxyTo(database.url);
  const pipeline = echo(
    async (_, signal, { model }) => {
      await here.pass();
      return await model?.invoke("Who came?", signal ? { signal } : {});
    },
    { trigger: { on: "entity.changed" } },
  );
  const pool = openPool(proxy.url);
  const models = openModels(settingsFor(server.url));
  const cutOff = { ...runtime({ pool, url: proxy.url }, pipeline), models };
  const worker = startWorker(cutOff, { pool, url: proxy.url }, { leaseMs: 800, pipelines: ["echo"] });
  await takeScene(runtime(database, pipeline));
  await here.reached;
  proxy.cut();
  await vi.waitFor(async () => expect(await reapExpired(database.pool)).toHaveLength(1), 15_000);
  await database.pool.query("update pipeline_runs set run_after = now() + interval '1 hour'");

  here.open();
  proxy.mend();

  await vi.waitFor(() => expect(worker.endings.map(({ ending }) => ending.kind)).toEqual(["lost"]), 15_000);
  expect(server.requests).toEqual([]);
  await worker.stop();
  await pool.end();
  await proxy.close();
});

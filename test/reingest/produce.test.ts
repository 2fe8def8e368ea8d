import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { LoregraphError } from "../../src/errors.ts";
import { coalesced } from "../../src/ledger/coalesce.ts";
import { enqueueRuns } from "../../src/ledger/enqueue.ts";
import { beginProducing, producePage, type Unproduced } from "../../src/reingest/produce.ts";
import { progressOf } from "../../src/reingest/progress.ts";
import { type Reingest, readReingest } from "../../src/reingest/reingest.ts";
import type { ReingestRequest } from "../../src/reingest/request.ts";
import { scopeOf } from "../../src/reingest/scope.ts";
import { cancelReingest, pauseReingest, resumeReingest } from "../../src/reingest/steer.ts";
import type { NewEntity } from "../../src/store/entities.ts";
import type { Context } from "../../src/worker/context.ts";
import { scene } from "../support/content.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { fakeSource } from "../support/fake-source.ts";
import { request as runRequest } from "../support/ledger.ts";
import { echo } from "../support/pipelines.ts";
import {
  type Columns,
  fillTenant,
  filters,
  newReingest,
  startProducer,
  told,
  untilEnded,
  untilReingest,
} from "../support/reingests.ts";
import { emptyLedger, runtime, startWorker } from "../support/runtime.ts";

let database: TestDatabase;
let context: Context;
let tenant_id: string;
beforeAll(async () => {
  database = await testDatabase();
  context = runtime(database);
});
beforeEach(async () => {
  tenant_id = randomUUID();
  await emptyLedger(database);
  await database.pool.query("truncate reingests cascade");
});

/** A planned reingest of the test's tenant. */
async function planned(given: Partial<ReingestRequest> = {}, columns: Columns = {}): Promise<Reingest> {
  const request = filters({ batch_size: 10, ...given });
  return await newReingest(database.pool, {
    status: "planned",
    started_at: null,
    produced_at: null,
    tenant_id,
    total: 1_000,
    source: request.source,
    request: JSON.stringify(request),
    ...columns,
  });
}

async function runs(columns = "source_id, pipeline, reingest_id, force, priority") {
  const { rows } = await database.pool.query(
    `select ${columns} from pipeline_runs where tenant_id = $1 order by source_id`,
    [tenant_id],
  );
  return rows;
}

async function begun(reingest: Reingest): Promise<Unproduced> {
  const unproduced = await beginProducing(database.pool, reingest);
  if (!unproduced) throw new Error("there is nothing to produce");
  return unproduced;
}

async function makePage(unproduced: Unproduced) {
  const { request, created_until } = unproduced;
  const scope = await scopeOf(database.pool, context, tenant_id, request, created_until);
  return await producePage(context, unproduced, scope);
}

const produced = ({ produced_at }: Reingest) => produced_at !== null;

describe("producing", () => {
  test("enqueues what is stale in pages, counts what is not, and says when it has come to the end", async () => {
    await fillTenant(context, tenant_id, 35, { everyNth: 5 });
    const reingest = await planned();
    startProducer(context, database);

    expect(await untilReingest(database.pool, reingest, produced)).toMatchObject({
      status: "running",
      skipped: 7,
      enqueued: 28,
    });
    expect(await runs()).toEqual(
      expect.arrayContaining([
        {
          source_id: expect.any(String),
          pipeline: "base",
          reingest_id: reingest.id,
          force: false,
          priority: -100,
        },
      ]),
    );
    expect(await runs()).toHaveLength(28);
  });

  test("of nothing at all completes at once", async () => {
    const reingest = await planned({}, { total: 0 });
    startProducer(context, database);

    expect(await untilEnded(database.pool, reingest)).toMatchObject({
      status: "completed",
      total: 0,
      settled: 0,
    });
  });

  test("forces what has not changed where it is asked to", async () => {
    await fillTenant(context, tenant_id, 5, { everyNth: 1 });
    const reingest = await planned({ force: true });
    startProducer(context, database);

    await untilReingest(database.pool, reingest, produced);
    expect(await runs("force")).toEqual(Array(5).fill({ force: true }));
  });

  test("keeps its pending runs within the bound and a page, and goes on as they end", async () => {
    await fillTenant(context, tenant_id, 60);
    const reingest = await planned();
    await watchPending(reingest);
    startProducer(context, database, { pendingBound: 15 });
    await untilReingest(database.pool, reingest, ({ enqueued }) => enqueued === 20);
    await using _worker = startWorker(context, database);

    expect(await untilEnded(database.pool, reingest)).toMatchObject({
      status: "completed",
      done: 60,
      total: 60,
    });
    const { rows } = await database.pool.query("select max(pending)::integer as most from seen_pending");
    expect(rows[0].most).toBeGreaterThan(10);
    expect(rows[0].most).toBeLessThanOrEqual(24);
  });

  test("by two producers at once enqueues nothing twice", async () => {
    await fillTenant(context, tenant_id, 400, { everyNth: 4 });
    const reingest = await planned();
    startProducer(context, database);
    startProducer(context, database);
    await untilReingest(database.pool, reingest, produced);

    expect(await readReingest(database.pool, reingest)).toMatchObject({ skipped: 100, enqueued: 300 });
    expect(await runs()).toHaveLength(300);
  });

  test("goes on when the connection that holds it ends", async () => {
    await fillTenant(context, tenant_id, 40);
    const reingest = await planned();
    startProducer(context, database, { pendingBound: 15 });
    await untilReingest(database.pool, reingest, ({ enqueued }) => enqueued === 20);
    const { rows } = await database.pool.query(
      "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name = 'loregraph producer locks'",
    );
    await using _worker = startWorker(context, database);

    expect(rows).toHaveLength(1);
    expect(await untilEnded(database.pool, reingest)).toMatchObject({ status: "completed", done: 40 });
  });

  test("undoes a page whose place another has left behind", async () => {
    await fillTenant(context, tenant_id, 30);
    const reingest = await planned();
    const [one, other] = [await begun(reingest), await begun(reingest)];
    const ends = await Promise.all([makePage(one), makePage(other)]);

    expect(ends.map(({ kind }) => kind).toSorted()).toEqual(["made", "stopped"]);
    expect(await makePage(one)).toEqual({ kind: "stopped" });
    expect(await runs()).toHaveLength(10);
  });

  test.each([pauseReingest, cancelReingest])("undoes a page that comes after %o", async (steer) => {
    await fillTenant(context, tenant_id, 30);
    const reingest = await planned();
    const unproduced = await begun(reingest);
    await steer(context, reingest);

    expect(await makePage(unproduced)).toEqual({ kind: "stopped" });
    expect(await runs()).toEqual([]);
  });

  test("stops while it is paused and goes on where it stopped", async () => {
    await fillTenant(context, tenant_id, 60);
    const reingest = await planned();
    startProducer(context, database, { pendingBound: 15 });
    await untilReingest(database.pool, reingest, ({ enqueued }) => enqueued === 20);
    await pauseReingest(context, reingest);
    await database.pool.query("update pipeline_runs set reingest_id = null where tenant_id = $1", [
      tenant_id,
    ]);
    await untilLookedTwice();
    expect(await readReingest(database.pool, reingest)).toMatchObject({ status: "paused", enqueued: 20 });

    await resumeReingest(context, reingest);
    await untilReingest(database.pool, reingest, ({ enqueued }) => enqueued === 40);
    expect(await runs()).toHaveLength(40);
  });

  test("leaves a run that somebody wants already outside, and counts it as skipped", async () => {
    await fillTenant(context, tenant_id, 3);
    const { rows } = await database.pool.query(
      "select source_id from entities where tenant_id = $1 limit 1",
      [tenant_id],
    );
    await enqueueRuns(database.pool, [runRequest({ pipeline: "base", tenant_id, ...rows[0] })]);
    const reingest = await planned();
    startProducer(context, database);

    expect(await untilReingest(database.pool, reingest, produced)).toMatchObject({ skipped: 1, enqueued: 2 });
    expect((await runs("reingest_id")).filter(({ reingest_id }) => reingest_id === null)).toHaveLength(1);
  });

  test("follows its base runs: what they cause is its own, and counts once it was decided that it would", async () => {
    const enriching = runtime(
      database,
      echo(() => ({ said: "" })),
    );
    await fillTenant(enriching, tenant_id, 8, { everyNth: 2 });
    const reingest = await planned({}, { total: 16 });
    startProducer(enriching, database);
    await using _worker = startWorker(enriching, database);

    expect(await untilEnded(database.pool, reingest)).toMatchObject({
      status: "completed",
      total: 16,
      settled: 16,
      done: 12,
      skipped: 4,
      failed: 0,
      follow_on: { echo: { ended: 4, open: 0 } },
    });
    expect(await runs("reingest_id")).toEqual(Array(12).fill({ reingest_id: reingest.id }));
  });

  test("of named enrichers runs these alone, from what base stored", async () => {
    const enriching = runtime(
      database,
      echo(() => ({ said: "" })),
    );
    await fillTenant(enriching, tenant_id, 6, { everyNth: 2 });
    const reingest = await planned({ pipelines: ["echo"] }, { total: 3 });
    startProducer(enriching, database);
    await using _worker = startWorker(enriching, database);

    expect(await untilEnded(database.pool, reingest)).toMatchObject({ total: 3, done: 3, follow_on: {} });
    expect(await runs("pipeline")).toEqual(Array(3).fill({ pipeline: "echo" }));
  });

  test("coalesces as every enqueueing does", async () => {
    const squeezed = (text: string) => text.replace(/\s+/g, " ").trim();
    const enqueue = await readFile("src/ledger/enqueue.ts", "utf8");

    expect(enqueue.includes("coalesced") || squeezed(enqueue).includes(squeezed(coalesced))).toBe(true);
  });
});

describe("a reingest from another service", () => {
  test("takes in what changed there, and makes all that follows a part of itself", async () => {
    await fillTenant(context, tenant_id, 4, { everyNth: 1 });
    const { rows } = await database.pool.query(
      "select source_type, source_id, title, text, metadata from entities where tenant_id = $1 order by source_id",
      [tenant_id],
    );
    const [changed, ...same] = rows as NewEntity[];
    if (!changed) throw new Error("there are no entities");
    const novel = scene({ title: "New there" });
    const source = fakeSource([{ ...changed, text: "Another text." }, ...same, novel]);
    const reingest = await planned({ source: "main-service", batch_size: 2 }, { total: 4 });
    startProducer(context, database, { mainService: source });
    await using _worker = startWorker(context, database);

    expect(await untilEnded(database.pool, reingest)).toMatchObject({
      status: "completed",
      total: 4,
      settled: 4,
    });
    expect(await readReingest(database.pool, reingest)).toMatchObject({ skipped: 3, enqueued: 1 });
    expect(await runs("source_id, reingest_id, status")).toEqual(
      [changed.source_id, novel.source_id]
        .toSorted()
        .map((source_id) => ({ source_id, reingest_id: reingest.id, status: "success" })),
    );
    const { rows: events } = await database.pool.query(
      "select event from events where tenant_id = $1 and event = 'entity.changed'",
      [tenant_id],
    );
    expect(events).toHaveLength(2);
  });

  test("waits for a service that is away, says so, and goes on", async () => {
    const away = new LoregraphError("SOURCE_UNAVAILABLE", "the service answered 503");
    const source = fakeSource([scene()], [away, away]);
    const reingest = await planned({ source: "main-service" });
    const seen: unknown[] = [];
    startProducer(context, database, { mainService: source });

    await vi.waitUntil(async () => {
      const { trouble, status } = await progressOf(database.pool, reingest);
      if (trouble) seen.push(trouble);
      return status === "running" && (await readReingest(database.pool, reingest)).produced_at !== null;
    });
    expect(seen).toContainEqual({
      code: "SOURCE_UNAVAILABLE",
      message: "the service answered 503",
      tries: expect.any(Number),
      retry_at: expect.any(String),
    });
    expect((await progressOf(database.pool, reingest)).trouble).toBeNull();
  });

  test("fails where the service refuses, and leaves no run behind", async () => {
    const refused = new LoregraphError("SOURCE_REFUSED", "the service answered 403");
    const source = fakeSource([scene(), scene(), scene()], [undefined, refused]);
    const reingest = await planned({ source: "main-service", batch_size: 1 });
    startProducer(context, database, { mainService: source });

    expect(await untilEnded(database.pool, reingest)).toMatchObject({
      status: "failed",
      error: { code: "SOURCE_REFUSED", message: "the service answered 403" },
    });
    await vi.waitUntil(async () => (await runs("status")).every(({ status }) => status === "cancelled"));
    expect(await told(database.pool, reingest)).toMatchObject([{ event: "reingest.failed" }]);
  });
});

/** Notes, after each statement that makes runs, how many of a reingest are pending. */
async function watchPending({ id }: Reingest): Promise<void> {
  await database.pool.query(`
    drop table if exists seen_pending;
    create table seen_pending (pending bigint);
    create or replace function note_pending() returns trigger language plpgsql as $$
      begin
        insert into seen_pending
        select count(*) from pipeline_runs where reingest_id = '${id}' and status = 'pending';
        return null;
      end $$;
    create or replace trigger note_pending after insert on pipeline_runs
      for each statement execute function note_pending()`);
}

/** Resolves when a producer has begun and ended looking for work since, which it does by statements of its own. */
async function untilLookedTwice(): Promise<void> {
  const sentinel = await newReingest(database.pool, {
    status: "planned",
    started_at: null,
    produced_at: null,
    tenant_id: randomUUID(),
  });
  await untilEnded(database.pool, sentinel);
}

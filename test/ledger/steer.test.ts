import { randomUUID } from "node:crypto";
import pg from "pg";
import { beforeAll, describe, expect, test, vi } from "vitest";
import { transaction } from "../../src/db.ts";
import { failAttempt, succeedRun } from "../../src/ledger/attempt.ts";
import { cancelRun, cancelRunsOf } from "../../src/ledger/cancel.ts";
import { listCauses } from "../../src/ledger/causes.ts";
import { enqueueRuns } from "../../src/ledger/enqueue.ts";
import { redriveDeadLetters } from "../../src/ledger/redrive.ts";
import type { ClaimedRun, RunRequest } from "../../src/ledger/run.ts";
import { noUsage } from "../../src/pipeline.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import {
  again,
  claim,
  claimed,
  newPipeline,
  only,
  parkRun,
  request,
  runOf,
  stamp,
  startAttempt,
  started,
} from "../support/ledger.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});

async function deadLetter(given: Partial<RunRequest> = {}, code = "GRAPH_FAILED"): Promise<ClaimedRun> {
  const run = await started(database.pool, given);
  await failAttempt(database.pool, run, {
    code,
    message: "no",
    retryInMs: null,
    counts: true,
    usage: noUsage,
  });
  return run;
}

describe("cancelling", () => {
  test("ends a pending run at once", async () => {
    const wanted = request({ pipeline: newPipeline() });
    const run = only(await enqueueRuns(database.pool, [wanted]));

    expect(await cancelRun(database.pool, wanted.tenant_id, run.id)).toBe("cancelled");
    expect(await runOf(database.pool, run)).toMatchObject({
      status: "cancelled",
      finished_at: expect.any(Date),
    });
    expect(await claim(database.pool, wanted.pipeline)).toEqual([]);
  });

  test("ends a waiting run at once", async () => {
    const run = await started(database.pool);
    await parkRun(database.pool, run, "who?", noUsage);

    expect(await cancelRun(database.pool, run.tenant_id, run.id)).toBe("cancelled");
    expect(await runOf(database.pool, run)).toMatchObject({ status: "cancelled", question: null });
  });

  test("asks the worker of a running run, and tells it", async () => {
    const run = await claimed(database.pool);
    const client = new pg.Client({ connectionString: database.url });
    await client.connect();
    try {
      await client.query("listen loregraph_cancels");
      const told = new Promise((resolve) => client.once("notification", ({ payload }) => resolve(payload)));

      expect(await cancelRun(database.pool, run.tenant_id, run.id)).toBe("running");
      expect(await told).toBe(run.id);
      expect((await runOf(database.pool, run)).cancel_requested_at).not.toBeNull();
    } finally {
      await client.end();
    }
  });

  test("refuses a run that has ended, naming both states", async () => {
    const run = await claimed(database.pool);
    await succeedRun(database.pool, run, { outcome: "completed", stamp, usage: noUsage });

    await expect(cancelRun(database.pool, run.tenant_id, run.id)).rejects.toMatchObject({
      code: "STATE_TRANSITION",
      message: expect.stringContaining("from success to cancelled"),
    });
  });

  test("refuses a dead letter", async () => {
    const run = await deadLetter();

    await expect(cancelRun(database.pool, run.tenant_id, run.id)).rejects.toMatchObject({
      code: "STATE_TRANSITION",
    });
  });

  test("finds no run of another tenant", async () => {
    const run = await claimed(database.pool);

    await expect(cancelRun(database.pool, randomUUID(), run.id)).rejects.toMatchObject({ code: "NOT_FOUND" });
  });

  test("what is still to be done about an entity leaves its neighbours alone", async () => {
    const pipeline = newPipeline();
    const gone = request({ pipeline });
    const stays = request({ pipeline, tenant_id: gone.tenant_id });
    const foreign = { ...gone, tenant_id: randomUUID() };
    await enqueueRuns(database.pool, [gone, stays, foreign]);

    expect(await cancelRunsOf(database.pool, gone.tenant_id, [gone])).toBe(1);
    const left = await claim(database.pool, pipeline);
    expect(new Set(left.map(({ tenant_id, source_id }) => tenant_id + source_id))).toEqual(
      new Set([stays, foreign].map(({ tenant_id, source_id }) => tenant_id + source_id)),
    );
  });
});

test("a deletion locks runs in the order of their keys, as those who enqueue them do", async () => {
  const [first, second] = [newPipeline(), newPipeline()].toSorted();
  const gone = request({ pipeline: first ?? "" });
  const enqueue = async (pipeline = "") => only(await enqueueRuns(database.pool, [{ ...gone, pipeline }]));
  const last = await enqueue(second); // made first, so that an order by age would be another
  const head = await enqueue(first);
  const locked = (id: string, how: string) =>
    `select from pipeline_runs where id = '${id}' for update ${how}`;

  let cancelled: Promise<number> | undefined;
  await transaction(database.pool, async (db) => {
    await db.query(locked(head.id, ""));
    cancelled = transaction(database.pool, (other) => cancelRunsOf(other, gone.tenant_id, [gone]));
    await untilOneWaits();
    expect((await db.query(locked(last.id, "skip locked"))).rowCount).toBe(1);
  });
  expect(await cancelled).toBe(2);
});

/** Resolves once a connection waits for another. */
async function untilOneWaits(): Promise<void> {
  const waiting =
    "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
  await vi.waitUntil(async () => (await database.pool.query(waiting)).rowCount === 1, { timeout: 10_000 });
}

describe("redriving", () => {
  test("leaves a dead letter alone whose key somebody enqueues at the same time", async () => {
    const run = await deadLetter();
    const other = await deadLetter({ pipeline: run.pipeline });

    let redriven: Promise<number> | undefined;
    await transaction(database.pool, async (db) => {
      await enqueueRuns(db, [again(run)]);
      redriven = redriveDeadLetters(database.pool, { pipeline: run.pipeline });
      await untilOneWaits();
    });
    expect(await redriven).toBe(1);
    expect((await runOf(database.pool, run)).status).toBe("failed");
    expect((await runOf(database.pool, other)).status).toBe("pending");
  });

  test("makes a dead letter pending with all its attempts, and keeps its errors", async () => {
    const run = await deadLetter();

    expect(await redriveDeadLetters(database.pool, { pipeline: run.pipeline })).toBe(1);
    expect(await runOf(database.pool, run)).toMatchObject({
      status: "pending",
      attempt: 0,
      finished_at: null,
      errors: [{ code: "GRAPH_FAILED" }],
    });
    expect(only(await claim(database.pool, run.pipeline)).id).toBe(run.id);
  });

  test("takes only what the filter names", async () => {
    const pipeline = newPipeline();
    const wanted = await deadLetter({ pipeline }, "RATE_LIMITED");
    const otherCode = await deadLetter({ pipeline });
    const otherTenant = await deadLetter({ pipeline }, "RATE_LIMITED");
    const { tenant_id } = wanted;

    expect(await redriveDeadLetters(database.pool, { pipeline, tenant_id, code: "RATE_LIMITED" })).toBe(1);
    const statuses = [wanted, otherCode, otherTenant].map((run) => runOf(database.pool, run));
    expect((await Promise.all(statuses)).map(({ status }) => status)).toEqual([
      "pending",
      "failed",
      "failed",
    ]);
  });

  test("leaves a dead letter alone whose work a pending run does already", async () => {
    const run = await deadLetter();
    await enqueueRuns(database.pool, [again(run, { source_version: 2 })]);

    expect(await redriveDeadLetters(database.pool, { pipeline: run.pipeline })).toBe(0);
  });

  test("takes only the newest of several dead letters of one key", async () => {
    const older = await deadLetter();
    const newer = await deadLetter(again(older));

    expect(await redriveDeadLetters(database.pool, { pipeline: older.pipeline })).toBe(1);
    expect((await runOf(database.pool, older)).status).toBe("failed");
    expect((await runOf(database.pool, newer)).status).toBe("pending");
  });

  test("leaves a dead letter alone that a later run of its key has healed", async () => {
    const run = await deadLetter();
    const later = await started(database.pool, again(run));
    await succeedRun(database.pool, later, { outcome: "duplicate_skipped", stamp, usage: noUsage });

    expect(await listCauses(database.pool, { tenant_id: run.tenant_id })).toEqual([]);
    expect(await redriveDeadLetters(database.pool, { pipeline: run.pipeline })).toBe(0);
    expect((await runOf(database.pool, run)).status).toBe("failed");
  });

  test("takes a dead letter that failed after another run of its key had ended well", async () => {
    const run = await deadLetter();
    const later = await started(database.pool, again(run));
    await redriveDeadLetters(database.pool, { pipeline: run.pipeline });
    await succeedRun(database.pool, later, { outcome: "completed", stamp, usage: noUsage });
    const retried = only(await claim(database.pool, run.pipeline));
    await startAttempt(database.pool, retried, stamp);
    await failAttempt(database.pool, retried, {
      code: "GRAPH_FAILED",
      message: "no",
      retryInMs: null,
      counts: true,
      usage: noUsage,
    });

    expect(retried.id).toBe(run.id);
    expect(await listCauses(database.pool, { tenant_id: run.tenant_id })).toMatchObject([{ runs: 1 }]);
    expect(await redriveDeadLetters(database.pool, { pipeline: run.pipeline })).toBe(1);
  });

  test("takes no more than its limit", async () => {
    const pipeline = newPipeline();
    for (let i = 0; i < 3; i++) await deadLetter({ pipeline });

    expect(await redriveDeadLetters(database.pool, { pipeline, limit: 2 })).toBe(2);
    expect(await redriveDeadLetters(database.pool, { pipeline, limit: 2 })).toBe(1);
  });
});

import { beforeAll, describe, expect, test } from "vitest";
import { type Db, transaction } from "../../src/db.ts";
import { endCancelled, type Failure, failAttempt, succeedRun } from "../../src/ledger/attempt.ts";
import { cancelRun } from "../../src/ledger/cancel.ts";
import { endRuns } from "../../src/ledger/end.ts";
import { enqueueRuns } from "../../src/ledger/enqueue.ts";
import { renewLeases } from "../../src/ledger/lease.ts";
import { reapExpired } from "../../src/ledger/reap.ts";
import { releaseRuns } from "../../src/ledger/release.ts";
import type { ClaimedRun, Lease } from "../../src/ledger/run.ts";
import { startAttempts } from "../../src/ledger/start.ts";
import { noUsage } from "../../src/pipeline.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { untilWaiting } from "../support/held.ts";
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

function failure(given: Partial<Failure> = {}): Failure {
  return { code: "GRAPH_FAILED", message: "no", retryInMs: 0, counts: true, usage: noUsage, ...given };
}

async function claimAgain({ pipeline }: ClaimedRun): Promise<ClaimedRun> {
  return only(await claim(database.pool, pipeline));
}

describe("a worker that lost its lease", () => {
  const deeds: Readonly<Record<string, (db: Db, stale: Lease) => Promise<unknown>>> = {
    "start the graph": (db, stale) => startAttempt(db, stale, stamp),
    succeed: (db, stale) => succeedRun(db, stale, { outcome: "completed", stamp, usage: noUsage }),
    fail: (db, stale) => failAttempt(db, stale, failure()),
    park: (db, stale) => parkRun(db, stale, "who?", noUsage),
    cancel: (db, stale) => endCancelled(db, stale, "because", noUsage),
  };

  test.each(Object.entries(deeds))("cannot %s", async (_, deed) => {
    const stale = await started(database.pool, {}, { leaseMs: -1 });
    await reapExpired(database.pool);
    await claimAgain(stale);
    const before = await runOf(database.pool, stale);

    await expect(deed(database.pool, stale)).rejects.toMatchObject({ code: "LEASE_LOST" });
    expect(await runOf(database.pool, stale)).toEqual(before);
  });

  test("can neither renew it nor release the run", async () => {
    const stale = await started(database.pool, {}, { leaseMs: -1 });
    await reapExpired(database.pool);
    await claimAgain(stale);
    const before = await runOf(database.pool, stale);

    expect(await renewLeases(database.pool, [stale], 60_000)).toEqual([]);
    expect(await releaseRuns(database.pool, [stale])).toBe(0);
    expect(await runOf(database.pool, stale)).toEqual(before);
  });

  test("cannot touch a run that has ended", async () => {
    const run = await claimed(database.pool);
    await succeedRun(database.pool, run, { outcome: "completed", stamp, usage: noUsage });

    await expect(failAttempt(database.pool, run, failure())).rejects.toMatchObject({ code: "LEASE_LOST" });
    expect((await runOf(database.pool, run)).status).toBe("success");
  });
});

describe("renewing", () => {
  test("moves the lease's end, and tells of a wish to cancel", async () => {
    const [kept, unwanted] = [await claimed(database.pool), await claimed(database.pool)];
    await cancelRun(database.pool, unwanted.tenant_id, unwanted.id);
    const renewed = await renewLeases(database.pool, [kept, unwanted], 7_200_000);

    expect(renewed.find(({ lease_token }) => lease_token === kept.lease_token)?.cancel_requested).toBe(false);
    expect(renewed.find(({ lease_token }) => lease_token === unwanted.lease_token)?.cancel_requested).toBe(
      true,
    );
    expect(Number((await runOf(database.pool, kept)).lease_expires_at) - Date.now()).toBeGreaterThan(
      3_600_000,
    );
  });

  test("waits for no run that somebody has locked: the others are renewed, and its lease is not taken for lost", async () => {
    const [locked, free] = [await claimed(database.pool), await claimed(database.pool)];
    await transaction(database.pool, async (db) => {
      await db.query("select from pipeline_runs where id = $1 for update", [locked.id]);
      const renewed = await renewLeases(database.pool, [locked, free], 60_000);

      expect(new Map(renewed.map((lease) => [lease.lease_token, lease.is_renewed]))).toEqual(
        new Map([
          [locked.lease_token, false],
          [free.lease_token, true],
        ]),
      );
    });
  });

  test("a worker that holds the run again does not renew the lease that it lost", async () => {
    const stale = await started(database.pool, {}, { leaseMs: -1 });
    await reapExpired(database.pool);
    const current = await claimAgain(stale);

    const renewed = await renewLeases(database.pool, [stale, current], 60_000);
    expect(renewed.map(({ lease_token }) => lease_token)).toEqual([current.lease_token]);
  });
});

describe("an attempt that failed", () => {
  test("waits for its next one, no shorter than it was told", async () => {
    const run = await started(database.pool);
    const status = await failAttempt(database.pool, run, failure({ retryInMs: 3_600_000 }));

    expect(status).toBe("pending");
    const row = await runOf(database.pool, run);
    expect(row).toMatchObject({
      attempt: 1,
      error_code: "GRAPH_FAILED",
      lease_token: null,
      graph_started_at: null,
    });
    expect(Number(row.run_after) - Date.now()).toBeGreaterThan(3_500_000);
    expect(await claim(database.pool, run.pipeline)).toEqual([]);
  });

  test("is a dead letter once its attempts are spent, and keeps every error", async () => {
    let run = await started(database.pool, { max_attempts: 2 });
    expect(await failAttempt(database.pool, run, failure({ message: "first" }))).toBe("pending");
    run = await claimAgain(run);
    await startAttempt(database.pool, run, stamp);

    expect(await failAttempt(database.pool, run, failure({ message: "second" }))).toBe("failed");
    expect(await runOf(database.pool, run)).toMatchObject({
      attempt: 2,
      error_message: "second",
      errors: [
        { attempt: 1, code: "GRAPH_FAILED", message: "first" },
        { attempt: 2, code: "GRAPH_FAILED", message: "second" },
      ],
    });
  });

  test("counts even where it failed before its graph started", async () => {
    let run = await claimed(database.pool, { max_attempts: 2 });
    expect(await failAttempt(database.pool, run, failure())).toBe("pending");
    run = await claimAgain(run);

    expect(await failAttempt(database.pool, run, failure())).toBe("failed");
    expect(await runOf(database.pool, run)).toMatchObject({
      attempt: 2,
      errors: [{ attempt: 1 }, { attempt: 2 }],
    });
  });

  test("fails at once where it is hopeless", async () => {
    const run = await started(database.pool);

    expect(await failAttempt(database.pool, run, failure({ retryInMs: null }))).toBe("failed");
    expect((await runOf(database.pool, run)).finished_at).not.toBeNull();
  });

  test("costs nothing where a rate limit ended it, even the last", async () => {
    const run = await started(database.pool, { max_attempts: 1 });
    const limited = failure({ code: "RATE_LIMITED", counts: false });

    expect(await failAttempt(database.pool, run, limited)).toBe("pending");
    expect(await runOf(database.pool, run)).toMatchObject({ attempt: 0, errors: [{ code: "RATE_LIMITED" }] });
  });

  test("gives way to a newer run of its key that is already pending", async () => {
    const run = await started(database.pool);
    await enqueueRuns(database.pool, [again(run, { source_version: 2 })]);

    expect(await failAttempt(database.pool, run, failure())).toBe("cancelled");
    expect((await claimAgain(run)).source_version).toBe(2);
  });

  test("is cancelled where somebody asked for that meanwhile", async () => {
    const run = await started(database.pool);
    await cancelRun(database.pool, run.tenant_id, run.id);

    expect(await failAttempt(database.pool, run, failure())).toBe("cancelled");
  });

  test("keeps the newest twenty errors", async () => {
    let run = await started(database.pool, { max_attempts: 100 });
    for (let n = 1; n <= 22; n++) {
      await failAttempt(database.pool, run, failure({ message: `${n}`, counts: false }));
      run = await claimAgain(run);
    }

    const { errors } = await runOf(database.pool, run);
    expect(errors.map(({ message }) => Number(message))).toEqual(Array.from({ length: 20 }, (_, i) => i + 3));
  });
});

describe("a released run", () => {
  test("costs no attempt, and is due at once", async () => {
    const run = await started(database.pool);

    expect(await releaseRuns(database.pool, [run])).toBe(1);
    expect(await runOf(database.pool, run)).toMatchObject({ status: "pending", attempt: 0, errors: [] });
    expect((await claimAgain(run)).id).toBe(run.id);
  });

  test("costs none where its graph had not started", async () => {
    const run = await claimed(database.pool);
    await releaseRuns(database.pool, [run]);

    expect((await runOf(database.pool, run)).attempt).toBe(0);
  });

  test("gives way to a newer run of its key", async () => {
    const run = await started(database.pool);
    await enqueueRuns(database.pool, [again(run, { source_version: 2 })]);
    await releaseRuns(database.pool, [run]);

    expect((await runOf(database.pool, run)).status).toBe("cancelled");
  });

  test("is cancelled where somebody asked for that meanwhile", async () => {
    const run = await started(database.pool);
    await cancelRun(database.pool, run.tenant_id, run.id);
    await releaseRuns(database.pool, [run]);

    expect((await runOf(database.pool, run)).status).toBe("cancelled");
  });
});

describe("a parked run", () => {
  test("holds no lease and keeps its question", async () => {
    const run = await started(database.pool);
    await parkRun(database.pool, run, { who: "Mara?" }, noUsage);

    expect(await runOf(database.pool, run)).toMatchObject({
      status: "waiting",
      question: { who: "Mara?" },
      lease_token: null,
      lease_expires_at: null,
    });
  });

  test("is cancelled where somebody asked for that meanwhile", async () => {
    const run = await started(database.pool);
    await cancelRun(database.pool, run.tenant_id, run.id);
    await parkRun(database.pool, run, "who?", noUsage);

    expect(await runOf(database.pool, run)).toMatchObject({ status: "cancelled", question: null });
  });

  test("may ask nothing in particular", async () => {
    const run = await started(database.pool);
    await parkRun(database.pool, run, undefined, noUsage);

    expect(await runOf(database.pool, run)).toMatchObject({ status: "waiting", question: null });
  });
});

describe("reaping an expired lease", () => {
  async function expired(given: Parameters<typeof started>[1] = {}): Promise<ClaimedRun> {
    return await started(database.pool, given, { leaseMs: -1 });
  }

  async function reaped({ id }: ClaimedRun): Promise<string | undefined> {
    return (await reapExpired(database.pool)).find((run) => run.id === id)?.status;
  }

  test("leaves leases alone that still hold", async () => {
    const run = await started(database.pool);

    expect(await reaped(run)).toBeUndefined();
  });

  test("costs an attempt where the graph had started", async () => {
    const run = await expired();

    expect(await reaped(run)).toBe("pending");
    expect(await runOf(database.pool, run)).toMatchObject({
      attempt: 1,
      error_code: "LEASE_EXPIRED",
      error_message: "the worker tester was not heard of before its lease expired",
      errors: [{ attempt: 1, code: "LEASE_EXPIRED" }],
    });
  });

  test("costs nothing where it had not", async () => {
    const run = await claimed(database.pool, { max_attempts: 1 }, { leaseMs: -1 });

    expect(await reaped(run)).toBe("pending");
    expect((await runOf(database.pool, run)).attempt).toBe(0);
  });

  test("makes a dead letter of a run without attempts left", async () => {
    const run = await expired({ max_attempts: 1 });

    expect(await reaped(run)).toBe("failed");
    expect((await runOf(database.pool, run)).finished_at).not.toBeNull();
  });

  test("cancels a run that was asked to", async () => {
    const run = await expired();
    await cancelRun(database.pool, run.tenant_id, run.id);

    expect(await reaped(run)).toBe("cancelled");
  });

  test("lets a run give way to a newer one that is pending", async () => {
    const run = await expired();
    await enqueueRuns(database.pool, [again(run, { source_version: 2 })]);

    expect(await reaped(run)).toBe("cancelled");
    expect((await claimAgain(run)).source_version).toBe(2);
  });

  test("happens once, however many reap", async () => {
    const runs = [await expired(), await expired(), await expired()];
    const reaps = await Promise.all(Array.from({ length: 6 }, () => reapExpired(database.pool)));

    const ids = reaps.flat().map(({ id }) => id);
    expect(runs.map(({ id }) => ids.filter((other) => other === id).length)).toEqual([1, 1, 1]);
  });
});

test("what attempts used adds up over them, whether they failed, were limited or succeeded", async () => {
  const usage = { ...noUsage, model_calls: 2, tokens_in: 100, tokens_out: 7, cost_usd: 0.000_000_123 };
  let run = await started(database.pool);
  await failAttempt(database.pool, run, failure({ usage }));
  run = await claimAgain(run);
  await startAttempt(database.pool, run, stamp);
  await failAttempt(database.pool, run, failure({ usage, counts: false }));
  run = await claimAgain(run);
  await startAttempt(database.pool, run, stamp);
  await succeedRun(database.pool, run, { outcome: "completed", stamp, usage });

  expect(await runOf(database.pool, run)).toMatchObject({
    status: "success",
    attempt: 2,
    model_calls: 6,
    tokens_in: 300,
    tokens_out: 21,
    cost_usd: 0.000_000_369,
    pipeline_version: stamp.pipeline_version,
    model: stamp.model,
  });
});

test("a usage that lacks a field is refused, and the run goes on", async () => {
  const run = await started(database.pool);
  const usage = { ...noUsage, tokens_out: Number.NaN };

  await expect(succeedRun(database.pool, run, { outcome: "completed", stamp, usage })).rejects.toThrow(
    "tokens_out",
  );
  expect((await runOf(database.pool, run)).status).toBe("running");
});

describe("who holds several leases, in whichever order, waits for another and never both for each other", () => {
  const deeds: Readonly<Record<string, (db: Db, leases: readonly ClaimedRun[]) => Promise<unknown>>> = {
    releasing: (db, leases) => releaseRuns(db, leases),
    starting: (db, leases) =>
      startAttempts(
        db,
        leases.map((lease) => ({ lease, stamp })),
      ),
  };

  test.each(Object.entries(deeds))("%s and ending", async (_, deed) => {
    const pipeline = newPipeline();
    await enqueueRuns(
      database.pool,
      [1, 2, 3, 4, 5].map(() => request({ pipeline })),
    );
    const runs = (await claim(database.pool, pipeline)).toSorted((a, b) =>
      a.tenant_id < b.tenant_id ? -1 : 1,
    );
    const holder = await database.pool.connect();
    await holder.query("begin");
    await holder.query("select from pipeline_runs where id = $1 for update", [runs[2]?.id]);
    const ends = runs.map(
      (lease) => ({ lease, status: "success", outcome: "completed", stamp, usage: noUsage }) as const,
    );
    const both = Promise.all([endRuns(database.pool, ends), deed(database.pool, runs.toReversed())]);
    await untilWaiting(database.pool, 2);
    await holder.query("commit");
    holder.release();

    expect(await both).toHaveLength(2);
  });
});

import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { transaction } from "../../src/db.ts";
import { cancelRun } from "../../src/ledger/cancel.ts";
import { wakeWorkers } from "../../src/ledger/enqueue.ts";
import { reapExpired } from "../../src/ledger/reap.ts";
import { previousOutput } from "../../src/store/enrichments.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { echo, type Step, threeSteps } from "../support/pipelines.ts";
import { emptyLedger, gate, runAbout, runtime, startWorker, takeScene } from "../support/runtime.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});
afterEach(() => emptyLedger(database));

describe("cancelling a running graph", () => {
  test("aborts it as soon as the notification is heard", async () => {
    const aborted = Promise.withResolvers<unknown>();
    const here = gate();
    const context = runtime(
      database,
      echo(async (_, signal) => {
        signal?.addEventListener("abort", () => aborted.resolve(signal.reason));
        await here.pass();
      }),
    );
    await using worker = startWorker(context, database, { leaseMs: 3_600_000 });
    const scene = await takeScene(context);
    await here.reached;
    const run = await runAbout(context, scene);
    await cancelRun(database.pool, scene.tenant_id, run.id);

    expect(await aborted.promise).toMatchObject({ why: "cancelled" });
    await worker.untilDone();
    expect(await runAbout(context, scene)).toMatchObject({
      status: "cancelled",
      error_message: "cancelled on request",
    });
    expect(worker.endings.at(-1)?.ending.kind).toBe("cancelled");
  });

  test("aborts it at the next heartbeat where the notification was lost", async () => {
    const here = gate();
    const context = runtime(
      database,
      echo(async () => {
        await here.pass();
      }),
    );
    await using worker = startWorker(context, database, { leaseMs: 400 });
    const scene = await takeScene(context);
    await here.reached;
    await database.pool.query(
      "update pipeline_runs set cancel_requested_at = now() where status = 'running'",
    );
    await worker.untilDone();

    expect((await runAbout(context, scene)).status).toBe("cancelled");
  });

  test("leaves the other runs of the worker alone", async () => {
    const [here, there] = [gate(), gate()];
    const context = runtime(
      database,
      echo(async ({ text }) => {
        if (text === "stays") await here.pass();
        else await there.pass();
        return { said: "done" };
      }),
    );
    await using worker = startWorker(context, database);
    const stays = await takeScene(context, { text: "stays" });
    const goes = await takeScene(context, { text: "goes" });
    await Promise.all([here.reached, there.reached]);
    const run = await runAbout(context, goes);
    await cancelRun(database.pool, goes.tenant_id, run.id);
    here.open();
    await worker.untilDone();

    expect((await runAbout(context, stays)).status).toBe("success");
    expect((await runAbout(context, goes)).status).toBe("cancelled");
  });
});

describe("a worker that is told to stop", () => {
  test("lets short attempts end, and claims nothing more", async () => {
    const here = gate();
    const context = runtime(
      database,
      echo(async () => {
        await here.pass();
        return { said: "in time" };
      }),
    );
    await using worker = startWorker(context, database, { drainMs: 10_000 });
    const scene = await takeScene(context);
    await here.reached;
    const stopped = worker.stop();
    const later = await takeScene(context);
    here.open();
    await stopped;

    expect(await runAbout(context, scene)).toMatchObject({ status: "success" });
    expect(await runAbout(context, later, "base")).toMatchObject({ status: "pending" });
  });

  test("releases long ones untried, and another goes on where they were", async () => {
    const steps: Step[] = [];
    const here = gate();
    const context = runtime(
      database,
      threeSteps(async (step) => {
        steps.push(step);
        if (step === "two" && steps.length === 2) await here.pass();
      }),
    );
    const first = startWorker(context, database, { drainMs: 50 });
    const scene = await takeScene(context);
    await here.reached;
    await first.stop();

    expect(await runAbout(context, scene)).toMatchObject({ status: "pending", attempt: 0, errors: [] });
    expect(first.endings.at(-1)?.ending.kind).toBe("released");
    await using second = startWorker(context, database);
    await second.untilDone();
    here.open();
    expect(steps).toEqual(["one", "two", "two", "three"]);
    expect(await runAbout(context, scene)).toMatchObject({ status: "success", attempt: 1 });
  });

  test("wakes another, which need not wait for its next poll", async () => {
    const here = gate();
    let calls = 0;
    const context = runtime(
      database,
      echo(async () => {
        if (++calls === 1) await here.pass();
        return { said: "done" };
      }),
    );
    const first = startWorker(context, database);
    const scene = await takeScene(context);
    await here.reached;
    const taken = Promise.withResolvers<void>();
    await using second = startWorker(context, database, {
      pollMs: 3_600_000,
      leaseMs: 3_600_000,
      onEnded: () => taken.resolve(),
    });
    await second.untilIdle();
    await first.stop();
    await taken.promise;

    expect((await runAbout(context, scene)).status).toBe("success");
  });

  test("stops once, and both who asked wait for it", async () => {
    const here = gate();
    const context = runtime(
      database,
      echo(async () => {
        await here.pass();
        return { said: "in time" };
      }),
    );
    await using worker = startWorker(context, database, { drainMs: 10_000 });
    const scene = await takeScene(context);
    await here.reached;
    let stops = 0;
    const stopping = [worker.stop(), worker.stop()].map((stop) => stop.then(() => stops++));
    await new Promise(setImmediate);
    expect(stops).toBe(0);
    here.open();
    await Promise.all(stopping);

    expect((await runAbout(context, scene)).status).toBe("success");
  });

  test("tells those who wait for it to be idle", async () => {
    const here = gate();
    const context = runtime(database, echo(here.pass));
    await using worker = startWorker(context, database);
    await takeScene(context);
    await here.reached;
    const idle = Promise.all([worker.untilIdle(), worker.untilDone()]);
    await worker.stop();

    await idle;
    await worker.untilIdle();
  });

  test("gives back what it had just claimed", async () => {
    const context = runtime(
      database,
      echo(() => ({ said: "x" })),
    );
    const scene = await takeScene(context);
    const claiming = await database.pool.connect();
    await claiming.query("begin");
    await claiming.query("select pg_advisory_xact_lock(hashtext('loregraph.claim'))");
    const worker = startWorker(context, database, { leaseMs: 3_600_000 });
    const waiting =
      "select from pg_locks where locktype = 'advisory' and not granted and database = (select oid from pg_database where datname = current_database())";
    while ((await database.pool.query(waiting)).rowCount === 0);
    const stopped = worker.stop();
    await claiming.query("commit");
    claiming.release();
    await stopped;

    expect(worker.endings).toEqual([]);
    expect(await runAbout(context, scene, "base")).toMatchObject({ status: "pending", attempt: 0 });
  });

  test("is forgotten", async () => {
    const context = runtime(database);
    const worker = startWorker(context, database);
    await worker.untilIdle();
    await worker.stop();

    const { rows } = await database.pool.query("select from workers where worker = $1", [worker.name]);
    expect(rows).toEqual([]);
  });
});

describe("a worker that was presumed dead", () => {
  test("stores nothing and writes no checkpoint; its run is finished once, elsewhere", async () => {
    const late = gate();
    let calls = 0;
    const context = runtime(
      database,
      threeSteps(async (step) => {
        if (step === "one" && ++calls === 1) await late.pass();
      }),
    );
    await using stale = startWorker(context, database, { leaseMs: 3_600_000 });
    const scene = await takeScene(context);
    await late.reached;
    await presumeDead();
    await using other = startWorker(context, database, { leaseMs: 3_600_000 });
    await other.untilDone();
    const finished = await checkpointsAbout(scene);
    const run = await runAbout(context, scene);
    late.open();
    await stale.untilDone();

    expect(run).toMatchObject({ status: "success", attempt: 2, errors: [{ code: "LEASE_EXPIRED" }] });
    expect(await runAbout(context, scene)).toEqual(run);
    expect(await checkpointsAbout(scene)).toEqual(finished);
    expect(await previousOutput(database.pool, scene, "echo")).toEqual({ said: "one two three" });
    expect(
      [...stale.endings, ...other.endings]
        .filter(({ run }) => run.pipeline === "echo")
        .map(({ ending }) => ending.kind)
        .toSorted(),
    ).toEqual(["answered", "lost"]);
  });

  test("by itself, runs the same run again beside its lost attempt", async () => {
    const late = gate();
    let calls = 0;
    const context = runtime(
      database,
      echo(async () => {
        if (++calls === 1) await late.pass();
        return { said: `call ${calls}` };
      }),
    );
    await using worker = startWorker(context, database, { leaseMs: 400 });
    const scene = await takeScene(context);
    await late.reached;
    // As where the process stood still for longer than its lease: it claims again before it renews.
    await presumeDead();
    await worker.untilDone();
    late.open();

    const kinds = worker.endings
      .filter(({ run }) => run.pipeline === "echo")
      .map(({ ending }) => ending.kind);
    expect(kinds.toSorted()).toEqual(["answered", "lost"]);
    expect((await runAbout(context, scene)).status).toBe("success");
    expect(await previousOutput(database.pool, scene, "echo")).toEqual({
      said: expect.stringMatching(/^call/),
    });
  });
});

/** What runs is reaped, though its worker lives. */
async function presumeDead(): Promise<void> {
  await transaction(database.pool, async (db) => {
    await db.query("update pipeline_runs set lease_expires_at = '-infinity' where status = 'running'");
    await reapExpired(db);
    await wakeWorkers(db);
  });
}

async function checkpointsAbout({ source_id }: { source_id: string }): Promise<unknown> {
  const { rows } = await database.pool.query(
    `select checkpoint_id, checkpoint, metadata from checkpoints
     join pipeline_runs run on run.id::text = thread_id where run.source_id = $1 order by checkpoint_id`,
    [source_id],
  );
  return rows;
}

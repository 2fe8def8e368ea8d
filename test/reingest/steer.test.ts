import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { beforeAll, describe, expect, test, vi } from "vitest";
import { enqueueRuns } from "../../src/ledger/enqueue.ts";
import { readReingest } from "../../src/reingest/reingest.ts";
import { settleReingests } from "../../src/reingest/settle.ts";
import { cancelReingest, pauseReingest, resumeReingest } from "../../src/reingest/steer.ts";
import type { Context } from "../../src/worker/context.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { claim, newPipeline } from "../support/ledger.ts";
import { echo } from "../support/pipelines.ts";
import {
  enqueueFor,
  legalReingest,
  newReingest,
  startProducer,
  told,
  untilReingest,
} from "../support/reingests.ts";
import { gate, runtime, startWorker, takeScene } from "../support/runtime.ts";

let database: TestDatabase;
let context: Context;
beforeAll(async () => {
  database = await testDatabase();
  context = runtime(
    database,
    echo(() => ({ said: "" })),
  );
});

async function statusesOf({ id }: { id: string }): Promise<Record<string, number>> {
  const { rows } = await database.pool.query(
    "select status, count(*)::integer as runs from pipeline_runs where reingest_id = $1 group by status",
    [id],
  );
  return Object.fromEntries(rows.map(({ status, runs }) => [status, runs]));
}

async function use(reingest: { tenant_id: string; id: string }, cost_usd: number, tokens = 0): Promise<void> {
  await database.pool.query(
    `insert into reingest_tallies (tenant_id, reingest_id, pipeline, shard, cost_usd, tokens)
     values ($1, $2, 'echo', 3, $3, $4)`,
    [reingest.tenant_id, reingest.id, cost_usd, tokens],
  );
}

describe("pausing", () => {
  test("is one row, told of, after which nothing is claimed; resuming lets all of it be", async () => {
    const [pipeline, reingest] = [newPipeline(), await newReingest(database.pool)];
    await enqueueFor(database.pool, reingest, 5, { pipeline });

    await pauseReingest(context, reingest);
    expect(await claim(database.pool, pipeline)).toEqual([]);
    expect(await resumeReingest(context, reingest)).toMatchObject({ status: "running" });
    expect(await claim(database.pool, pipeline)).toHaveLength(5);
    expect(await told(database.pool, reingest)).toEqual([
      { event: "reingest.paused", metadata: { because: null } },
      { event: "reingest.resumed", metadata: {} },
    ]);
  });

  test("keeps workers from every run that had not begun", async () => {
    const held = gate();
    const holding = runtime(
      database,
      echo(async () => {
        await held.pass();
        return { said: "" };
      }),
    );
    const reingest = await newReingest(database.pool);
    const { tenant_id } = reingest;
    const scenes = await Promise.all([1, 2, 3].map(() => takeScene(holding, { tenant_id })));
    await using worker = startWorker(holding, database, { concurrency: 1, pipelines: ["echo"] });
    for (const scene of scenes) {
      const { source_type, source_id } = scene;
      await enqueueFor(database.pool, reingest, 1, { source_type, source_id });
    }
    await held.reached;

    await pauseReingest(holding, reingest);
    held.open();
    await worker.untilIdle();
    expect(await statusesOf(reingest)).toEqual({ success: 1, pending: 2 });
  });

  test("is refused once it has ended, with both states named", async () => {
    const ended = await newReingest(database.pool, legalReingest.completed);

    for (const steer of [pauseReingest, resumeReingest, cancelReingest]) {
      await expect(steer(context, ended)).rejects.toMatchObject({
        code: "STATE_TRANSITION",
        message: expect.stringContaining("from completed to"),
      });
    }
  });

  test("and steering find no reingest of another tenant", async () => {
    const { id } = await newReingest(database.pool);

    for (const steer of [pauseReingest, resumeReingest, cancelReingest]) {
      await expect(steer(context, { tenant_id: randomUUID(), id })).rejects.toMatchObject({
        code: "NOT_FOUND",
      });
    }
  });

  test("of one that is paused, and resuming of one that runs, are illegal", async () => {
    const [paused, running] = [
      await newReingest(database.pool, legalReingest.paused),
      await newReingest(database.pool),
    ];

    await expect(pauseReingest(context, paused)).rejects.toThrow("from paused to paused");
    await expect(resumeReingest(context, running)).rejects.toThrow("from running to running");
  });
});

describe("a limit", () => {
  test.each([
    ["max_cost_usd", { max_cost_usd: 0.5 }, { max_cost_usd: 0.75 }],
    ["max_tokens", { max_tokens: 100 }, { max_tokens: 101 }],
  ] as const)("%s pauses what reaches it, names itself, and must be raised", async (limit, given, higher) => {
    const reingest = await newReingest(database.pool, given);
    await enqueueFor(database.pool, reingest, 1);
    await use(reingest, 0.25, 99);
    await settleReingests(context);
    expect(await readReingest(database.pool, reingest)).toMatchObject({ status: "running" });

    await database.pool.query(
      "update reingest_tallies set cost_usd = 0.5, tokens = 100 where reingest_id = $1",
      [reingest.id],
    );
    await settleReingests(context);

    expect(await readReingest(database.pool, reingest)).toMatchObject({
      status: "paused",
      paused_because: limit,
    });
    await expect(resumeReingest(context, reingest)).rejects.toMatchObject({ code: "LIMIT_REACHED" });
    await expect(resumeReingest(context, reingest, given)).rejects.toMatchObject({ code: "LIMIT_REACHED" });
    expect(await resumeReingest(context, reingest, higher)).toMatchObject({
      status: "running",
      paused_because: null,
      ...higher,
    });
    expect(await told(database.pool, reingest)).toEqual([
      { event: "reingest.paused", metadata: { because: limit, cost_usd: 0.5, tokens: 100 } },
      { event: "reingest.resumed", metadata: higher },
    ]);
  });

  test("that is reached by the last run pauses nothing: it is completed", async () => {
    const reingest = await newReingest(database.pool, { max_cost_usd: 0.5 });
    await use(reingest, 0.6);
    await settleReingests(context);

    expect(await readReingest(database.pool, reingest)).toMatchObject({ status: "completed" });
  });

  test("that was reached with nothing left to do need not be raised", async () => {
    const reingest = await newReingest(database.pool, { max_cost_usd: 0.5 });
    await enqueueFor(database.pool, reingest, 1);
    await use(reingest, 0.6);
    await settleReingests(context);
    expect(await readReingest(database.pool, reingest)).toMatchObject({ status: "paused" });
    await database.pool.query(
      "update pipeline_runs set status = 'cancelled', finished_at = now() where reingest_id = $1",
      [reingest.id],
    );

    await resumeReingest(context, reingest);
    await settleReingests(context);

    expect(await readReingest(database.pool, reingest)).toMatchObject({ status: "completed" });
  });

  test("of runs a minute lets no more begin", async () => {
    const pipeline = newPipeline();
    const reingest = await newReingest(database.pool, { max_runs_per_minute: 20 });
    await enqueueFor(database.pool, reingest, 30, { pipeline });

    expect(await claim(database.pool, pipeline)).toHaveLength(1);
    expect(await claim(database.pool, pipeline)).toHaveLength(0);
  });

  test("of few runs a minute lets the next one begin when it may, and no look later", async () => {
    const name = newPipeline();
    const pipeline = echo(() => ({ said: "" }), { name });
    await using _ = startWorker(runtime(database, pipeline), database, {
      pipelines: [name],
      pollMs: 3_600_000,
    });
    const reingest = await newReingest(database.pool, { max_runs_per_minute: 24 });
    await enqueueFor(database.pool, reingest, 2, { pipeline: name });

    await vi.waitUntil(async () => (await statusesOf(reingest)).pending === undefined, { timeout: 18_000 });

    const { rows } = await database.pool.query(
      "select extract(epoch from max(started_at) - min(started_at))::float8 as seconds from pipeline_runs where reingest_id = $1",
      [reingest.id],
    );
    expect(rows[0].seconds).toBeGreaterThanOrEqual(2.5);
  });
});

describe("cancelling", () => {
  test("cancels what is pending, thousands of it, and leaves what somebody else wants too", async () => {
    const reingest = await newReingest(database.pool);
    const [shared] = await enqueueFor(database.pool, reingest, 2_500);
    if (!shared) throw new Error("nothing was enqueued");
    const { reingest_id: _, ...alone } = shared;
    await enqueueRuns(database.pool, [{ ...alone, priority: 0 }]);

    await cancelReingest(context, reingest);

    expect(await statusesOf(reingest)).toEqual({ cancelled: 2_499 });
    const { rows } = await database.pool.query(
      "select status, reingest_id from pipeline_runs where tenant_id = $1 and source_id = $2",
      [shared.tenant_id, shared.source_id],
    );
    expect(rows).toEqual([{ status: "pending", reingest_id: null }]);
    expect(await told(database.pool, reingest)).toMatchObject([{ event: "reingest.cancelled" }]);
  });

  test("aborts a graph that runs within a second", async () => {
    const begun = Promise.withResolvers<void>();
    const aborted = Promise.withResolvers<void>();
    const hanging = runtime(
      database,
      echo(async (_, signal) => {
        begun.resolve();
        await delay(60_000, undefined, signal ? { signal } : {}).catch(() => aborted.resolve());
        signal?.throwIfAborted();
        return { said: "" };
      }),
    );
    const reingest = await newReingest(database.pool);
    const { source_type, source_id } = await takeScene(hanging, { tenant_id: reingest.tenant_id });
    await enqueueFor(database.pool, reingest, 1, { source_type, source_id });
    await using worker = startWorker(hanging, database, { pipelines: ["echo"] });
    await begun.promise;

    const at = performance.now();
    await cancelReingest(hanging, reingest);
    await aborted.promise;
    expect(performance.now() - at).toBeLessThan(1_000);
    await worker.untilIdle();
    expect(await statusesOf(reingest)).toEqual({ cancelled: 1 });
  });

  test("that its process did not live to finish is finished by a producer", async () => {
    const reingest = await newReingest(database.pool);
    await enqueueFor(database.pool, reingest, 3);
    await database.pool.query(
      "update reingests set status = 'cancelled', finished_at = now() where id = $1",
      [reingest.id],
    );
    startProducer(context, database);

    await vi.waitUntil(async () => (await statusesOf(reingest)).cancelled === 3, { timeout: 5_000 });
  });

  test("sweeps what its last run still caused, too", async () => {
    const reingest = await newReingest(database.pool);
    startProducer(context, database);
    await cancelReingest(context, reingest);
    await enqueueFor(database.pool, reingest, 1, { parent_run_id: randomUUID() });

    await vi.waitUntil(async () => (await statusesOf(reingest)).cancelled === 1, { timeout: 5_000 });
  });
});

test("a reingest of which nothing is left is completed and told of, once, by however many producers", async () => {
  const reingest = await newReingest(database.pool, { total: 3, skipped: 2 });
  startProducer(context, database);
  startProducer(context, database);

  expect(await untilReingest(database.pool, reingest, ({ status }) => status === "completed")).toMatchObject({
    total: 2,
  });
  expect(await told(database.pool, reingest)).toMatchObject([
    { event: "reingest.completed", metadata: { total: 2, skipped: 2, done: 0, failed: 0 } },
  ]);
});

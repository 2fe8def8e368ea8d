import { randomUUID } from "node:crypto";
import { beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { one, transaction } from "../../src/db.ts";
import { endCancelled, failAttempt, succeedRun } from "../../src/ledger/attempt.ts";
import { cancelRunsOf } from "../../src/ledger/cancel.ts";
import { enqueueRuns } from "../../src/ledger/enqueue.ts";
import { redriveDeadLetters } from "../../src/ledger/redrive.ts";
import type { ClaimedRun, RunRequest } from "../../src/ledger/run.ts";
import { noUsage } from "../../src/pipeline.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { again, claim, newPipeline, noteServed, only, request, runOf, stamp } from "../support/ledger.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});

type Reingest = { readonly tenant_id: string; readonly reingest_id: string };

async function running({ perMinute = null as number | null, tenant_id = randomUUID() as string } = {}) {
  const { id } = await one(
    database.pool,
    z.object({ id: z.guid() }),
    `insert into reingests (tenant_id, status, request, priority, total, started_at, max_runs_per_minute)
     values ($1, 'running', '{}', -100, 0, now(), $2) returning id`,
    [tenant_id, perMinute],
  );
  return { tenant_id, reingest_id: id } satisfies Reingest;
}

async function enqueue(count: number, given: Partial<RunRequest> & Pick<RunRequest, "pipeline">) {
  const requests = Array.from({ length: count }, () => request({ priority: -100, ...given }));
  await enqueueRuns(database.pool, requests);
  return requests;
}

async function setStatus({ reingest_id }: Reingest, status: string): Promise<void> {
  await database.pool.query("update reingests set status = $2 where id = $1", [reingest_id, status]);
}

describe("the lane of a reingest", () => {
  test("is passed over while it is paused, whatever else its tenant wants", async () => {
    const [pipeline, reingest] = [newPipeline(), await running()];
    await enqueue(3, { pipeline, ...reingest });
    await enqueue(1, { pipeline, tenant_id: reingest.tenant_id });
    await setStatus(reingest, "paused");

    expect(await claim(database.pool, pipeline)).toMatchObject([{ reingest_id: null }]);
    await setStatus(reingest, "running");
    expect(await claim(database.pool, pipeline)).toHaveLength(3);
  });

  test("is passed over before it runs and once it was cancelled", async () => {
    const [pipeline, reingest] = [newPipeline(), await running()];
    await enqueue(1, { pipeline, ...reingest });
    await database.pool.query(
      "update reingests set status = 'cancelled', finished_at = now() where id = $1",
      [reingest.reingest_id],
    );

    expect(await claim(database.pool, pipeline)).toEqual([]);
  });

  test("leaves places to runs of no reingest", async () => {
    const [pipeline, reingest] = [newPipeline(), await running()];
    await enqueue(9, { pipeline, ...reingest, priority: 100 });
    expect(await claim(database.pool, pipeline, { limit: 4, bulk: 0 })).toEqual([]);
    await enqueue(2, { pipeline });

    const claimed = await claim(database.pool, pipeline, { limit: 8, bulk: 3 });

    expect(claimed.map(({ reingest_id }) => reingest_id).toSorted()).toEqual([
      ...Array(3).fill(reingest.reingest_id),
      null,
      null,
    ]);
  });

  test("leaves them however many tenants are run again", async () => {
    const [pipeline, other] = [newPipeline(), randomUUID()];
    for (let n = 0; n < 4; n++) await enqueue(1, { pipeline, ...(await running()) });
    await enqueue(1, { pipeline, tenant_id: other });
    await noteServed(database.pool, other);

    const claimed = await claim(database.pool, pipeline, { limit: 4, bulk: 3 });

    expect(claimed.filter(({ reingest_id }) => reingest_id !== null)).toHaveLength(3);
    expect(claimed.filter(({ tenant_id }) => tenant_id === other)).toHaveLength(1);
  });

  test("that is held to a pace keeps no place from another", async () => {
    const [pipeline, paced] = [newPipeline(), await running({ perMinute: 6 })];
    const { tenant_id } = paced;
    const unpaced = await running({ tenant_id });
    await enqueue(5, { pipeline, ...paced, priority: 100 });
    await enqueue(5, { pipeline, ...unpaced });

    const claimed = await claim(database.pool, pipeline, { limit: 4, bulk: 3 });

    expect(claimed.map(({ reingest_id }) => reingest_id)).toHaveLength(3);
    expect(claimed.filter(({ reingest_id }) => reingest_id === paced.reingest_id)).toHaveLength(1);
  });

  test("starts no more than its pace lets it, and does not make up for idle time", async () => {
    const [pipeline, reingest] = [newPipeline(), await running({ perMinute: 60 })];
    await enqueue(20, { pipeline, ...reingest });

    expect(await claim(database.pool, pipeline)).toHaveLength(2);
    expect(await claim(database.pool, pipeline)).toHaveLength(0);
    await database.pool.query("update reingest_paces set next_at = now() - interval '1 hour'");
    expect(await claim(database.pool, pipeline)).toHaveLength(2);
  });

  test("starts one at a time where its pace is slow", async () => {
    const [pipeline, reingest] = [newPipeline(), await running({ perMinute: 6 })];
    await enqueue(3, { pipeline, ...reingest });

    expect(await claim(database.pool, pipeline)).toHaveLength(1);
    expect(await claim(database.pool, pipeline)).toHaveLength(0);
    const { wait } = await one(
      database.pool,
      z.object({ wait: z.coerce.number() }),
      "select extract(epoch from next_at - now()) as wait from reingest_paces where reingest_id = $1",
      [reingest.reingest_id],
    );
    expect(wait).toBeGreaterThan(8);
    expect(wait).toBeLessThanOrEqual(10);
  });
});

describe("a run that a reingest and somebody else want", () => {
  test("leaves the reingest, with the higher priority, and counts there as skipped", async () => {
    const [pipeline, reingest] = [newPipeline(), await running()];
    const wanted = only(await enqueue(1, { pipeline, ...reingest, force: true }));
    const { reingest_id: _, ...alone } = { ...wanted, priority: 0, force: false };
    await enqueueRuns(database.pool, [alone]);
    await setStatus(reingest, "paused");

    const run = only(await claim(database.pool, pipeline));

    expect(run).toMatchObject({ reingest_id: null, priority: 0, force: true });
    expect(await tally(reingest)).toMatchObject({ skipped: 1, done: 0, cancelled: 0 });
  });

  test("of many who want such runs, none waits for another that waits for it", async () => {
    const [pipeline, reingest] = [newPipeline(), await running()];
    const wanted = await enqueue(160, { pipeline, ...reingest });
    const alone = wanted.map(({ reingest_id: _, ...run }) => run);

    const many = [0, 40, 80, 120].map((from) =>
      transaction(database.pool, async (db) => {
        // In two statements, as a push of two types would: what the first one counts is held when the second counts.
        await enqueueRuns(db, alone.slice(from, from + 20));
        await enqueueRuns(db, alone.slice(from + 20, from + 40));
      }),
    );

    await Promise.all(many);
    expect(await tally(reingest)).toMatchObject({ skipped: 160 });
  });

  test("stays outside of it where it was pending before", async () => {
    const [pipeline, reingest] = [newPipeline(), await running()];
    const wanted = only(await enqueue(1, { pipeline, tenant_id: reingest.tenant_id, priority: 0 }));
    await enqueueRuns(database.pool, [{ ...wanted, ...reingest }]);

    expect(await claim(database.pool, pipeline)).toMatchObject([{ reingest_id: null }]);
  });
});

describe("what became of a reingest's runs", () => {
  const usage = { ...noUsage, tokens_in: 10, tokens_out: 5, cost_usd: 0.25 };

  test("is counted by the transaction that ends them", async () => {
    const [pipeline, reingest] = [newPipeline(), await running()];
    await enqueue(4, { pipeline, ...reingest });
    const [done, skipped, failed, cancelled] = await claimFour(pipeline);
    await succeedRun(database.pool, done, { outcome: "completed", stamp, usage });
    await succeedRun(database.pool, skipped, { outcome: "duplicate_skipped", stamp, usage: noUsage });
    await failAttempt(database.pool, failed, failure(null));
    await endCancelled(database.pool, cancelled, "asked", noUsage);

    expect(await tally(reingest)).toEqual({
      done: 1,
      skipped: 1,
      failed: 1,
      cancelled: 1,
      follow_on: 0,
      tokens: 30,
      cost_usd: 0.5,
    });
  });

  test("counts what a failed attempt used, and the run once", async () => {
    const [pipeline, reingest] = [newPipeline(), await running()];
    await enqueue(1, { pipeline, ...reingest });
    await failAttempt(database.pool, only(await claim(database.pool, pipeline)), failure(0));
    expect(await tally(reingest)).toMatchObject({ done: 0, failed: 0, tokens: 15, cost_usd: 0.25 });

    const retried = only(await claim(database.pool, pipeline));
    await succeedRun(database.pool, retried, { outcome: "completed", stamp, usage });

    expect(await tally(reingest)).toMatchObject({ done: 1, tokens: 30, cost_usd: 0.5 });
  });

  test("stays as it was when a dead letter is redriven", async () => {
    const [pipeline, reingest] = [newPipeline(), await running()];
    await enqueue(1, { pipeline, ...reingest });
    const run = only(await claim(database.pool, pipeline));
    await failAttempt(database.pool, run, failure(null));
    await redriveDeadLetters(database.pool, { pipeline });

    expect(await runOf(database.pool, run)).toMatchObject({ status: "pending", reingest_id: null });
    const redriven = only(await claim(database.pool, pipeline));
    await succeedRun(database.pool, redriven, { outcome: "completed", stamp, usage });
    expect(await tally(reingest)).toMatchObject({ done: 0, failed: 1, tokens: 15 });
  });

  test("tells those that another run made", async () => {
    const [pipeline, reingest] = [newPipeline(), await running()];
    await enqueue(1, { pipeline, ...reingest });
    const parent = only(await claim(database.pool, pipeline));
    const follower = { ...again(parent), source_id: randomUUID(), ...reingest, parent_run_id: parent.id };
    await enqueueRuns(database.pool, [follower]);
    await succeedRun(database.pool, only(await claim(database.pool, pipeline)), {
      outcome: "completed",
      stamp,
      usage: noUsage,
    });

    expect(await tally(reingest)).toMatchObject({ done: 1, follow_on: 1 });
  });

  function failure(retryInMs: number | null) {
    return { code: "GRAPH_FAILED", message: "no", retryInMs, counts: true, usage };
  }

  async function claimFour(
    pipeline: string,
  ): Promise<readonly [ClaimedRun, ClaimedRun, ClaimedRun, ClaimedRun]> {
    const [one, two, three, four] = await claim(database.pool, pipeline);
    if (!one || !two || !three || !four) throw new Error("expected four runs");
    return [one, two, three, four];
  }
});

async function succeed(run: ClaimedRun): Promise<void> {
  await succeedRun(database.pool, run, { outcome: "completed", stamp, usage: noUsage });
}

const Tally = z.object({
  done: z.coerce.number(),
  skipped: z.coerce.number(),
  failed: z.coerce.number(),
  cancelled: z.coerce.number(),
  follow_on: z.coerce.number(),
  tokens: z.coerce.number(),
  cost_usd: z.coerce.number(),
});

async function tally({ reingest_id }: Reingest) {
  return await one(
    database.pool,
    Tally,
    `select sum(done) as done, sum(skipped) as skipped, sum(failed) as failed, sum(cancelled) as cancelled,
       sum(follow_on) as follow_on, sum(tokens) as tokens, sum(cost_usd) as cost_usd
     from reingest_tallies where reingest_id = $1`,
    [reingest_id],
  );
}

describe("a delivery", () => {
  test("takes nothing from what its tenant may run, nor is held back by it", async () => {
    const [tenant_id, pipeline, webhook] = [randomUUID(), newPipeline(), `webhook:${randomUUID()}`];
    await database.pool.query("insert into tenant_controls (tenant_id, max_running) values ($1, 1)", [
      tenant_id,
    ]);
    await enqueue(2, { pipeline: webhook, tenant_id, priority: 0 });
    await enqueue(2, { pipeline, tenant_id, priority: 0 });
    expect(await claim(database.pool, webhook, { pipelines: ["webhook:%"] })).toHaveLength(2);

    expect(await claim(database.pool, pipeline)).toHaveLength(1);
    expect(await claim(database.pool, pipeline)).toHaveLength(0);
  });

  test("takes none of its tenant's turns", async () => {
    const [pipeline, told, untold] = [newPipeline(), randomUUID(), randomUUID()];
    for (const tenant_id of [told, untold]) await enqueue(2, { pipeline, tenant_id });
    const first = only(await claim(database.pool, pipeline, { limit: 1 }));
    await succeed(first);
    const second = only(await claim(database.pool, pipeline, { limit: 1 }));
    await succeed(second);
    await enqueue(1, { pipeline: `webhook:${randomUUID()}`, tenant_id: first.tenant_id });

    expect(await claim(database.pool, "webhook:%")).toHaveLength(1);

    expect(await claim(database.pool, pipeline, { limit: 1 })).toMatchObject([
      { tenant_id: first.tenant_id },
    ]);
  });

  test("to one of many tenants waits for no other's backlog", async () => {
    const webhooks = Array.from({ length: 5 }, () => `webhook:${randomUUID()}`);
    for (const pipeline of webhooks) await enqueue(60, { pipeline, tenant_id: randomUUID() });
    const served = new Set<string>();
    for (let n = 0; n < 60; n++) {
      const run = only(await claim(database.pool, "", { pipelines: webhooks, limit: 1 }));
      served.add(run.tenant_id);
      await succeed(run);
    }
    expect(served.size).toBe(5);
  });

  test("is still owed about an entity that is gone", async () => {
    const [tenant_id, pipeline, webhook] = [randomUUID(), newPipeline(), `webhook:${randomUUID()}`];
    const source_id = randomUUID();
    await enqueue(1, { pipeline: webhook, tenant_id, source_id });
    await enqueue(1, { pipeline, tenant_id, source_id });

    expect(await cancelRunsOf(database.pool, tenant_id, [{ source_type: "scene", source_id }])).toBe(1);
    expect(await claim(database.pool, webhook, { pipelines: [webhook] })).toHaveLength(1);
  });
});

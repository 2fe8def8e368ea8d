import { randomUUID } from "node:crypto";
import pg from "pg";
import { beforeAll, describe, expect, test } from "vitest";
import type { Pool } from "../../src/db.ts";
import { ClaimMemory } from "../../src/ledger/claim-memory.ts";
import { enqueueRuns } from "../../src/ledger/enqueue.ts";
import { releaseRuns } from "../../src/ledger/release.ts";
import type { ClaimedRun, RunRequest } from "../../src/ledger/run.ts";
import { surveyLanes } from "../../src/ledger/survey.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { explaining } from "../support/explain.ts";
import { claim, newPipeline, only, request } from "../support/ledger.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});

/** So many of its runs make a lane worth knowing. */
const many = 16;
const slackMs = 60_000;

describe("while a session holds an old snapshot", () => {
  test("a claim that knows where its lanes begin reads nothing of what was claimed before", async () => {
    const { pool, url } = await testDatabase();
    const [pipeline, memory] = [newPipeline(), new ClaimMemory()];
    const tenant_id = randomUUID();
    await enqueue(pool, 4 * many, { pipeline, tenant_id });
    const fresh = await pagesOf(pool, pipeline, new ClaimMemory());
    const old = await holdSnapshot(url);

    for (let rounds = 0; rounds < 30; rounds++) {
      await enqueue(pool, 4 * many, { pipeline, tenant_id });
      await end(pool, await claim(pool, pipeline, { memory, leaseMs: 1 }));
    }
    await enqueue(pool, 4 * many, { pipeline, tenant_id });
    const ignorant = await pagesOf(pool, pipeline, new ClaimMemory());
    memory.learn(await surveyLanes(pool, 0));
    const knowing = await pagesOf(pool, pipeline, memory);

    expect(ignorant).toBeGreaterThan(3 * fresh);
    expect(knowing).toBeLessThan(2 * fresh);
    await old.end();
  });
});

async function pagesOf(pool: Pool, pipeline: string, memory: ClaimMemory): Promise<number> {
  const explained = explaining(pool, "claim");
  await claim(explained.pool, pipeline, { memory, limit: 4 });
  return only(explained.found).pages;
}

async function holdSnapshot(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url });
  client.on("error", () => {});
  await client.connect();
  await client.query("begin isolation level repeatable read; select 1");
  return client;
}

describe("a claim that knows where its lanes begin", () => {
  test("finds what is enqueued in any lane, known or new, before, between or after those that it knows", async () => {
    const tenants = Array.from({ length: 5 }, () => randomUUID());
    const pipelines = Array.from({ length: 4 }, newPipeline);
    const lanes = tenants.flatMap((tenant_id) =>
      pipelines.flatMap((pipeline) => [-1, 0, 7].map((priority) => ({ tenant_id, pipeline, priority }))),
    );
    const memory = new ClaimMemory();
    for (const lane of lanes.filter((_, nth) => nth % 3 === 1)) {
      await enqueue(database.pool, many, lane);
      await end(database.pool, await claim(database.pool, lane.pipeline, { memory }));
    }
    memory.learn(await surveyLanes(database.pool, slackMs));

    const wanted = lanes.map((lane) => request(lane));
    const ids = (await enqueueRuns(database.pool, wanted)).map(({ id }) => id);
    const claimed = await claim(database.pool, "", { pipelines, memory });

    expect(claimed.map(({ id }) => id).toSorted()).toEqual(ids.toSorted());
  });

  test("counts what runs, so that caps hold", async () => {
    const [pipeline, memory] = [newPipeline(), new ClaimMemory()];
    await database.pool.query("insert into pipeline_controls (pipeline, max_running) values ($1, 20)", [
      pipeline,
    ]);
    await enqueue(database.pool, 40, { pipeline });

    expect(await claim(database.pool, pipeline, { memory, limit: 17 })).toHaveLength(17);
    memory.learn(await surveyLanes(database.pool, 0));
    expect(await claim(database.pool, pipeline, { memory })).toHaveLength(3);
    memory.learn(await surveyLanes(database.pool, 0));
    expect(await claim(database.pool, pipeline, { memory })).toHaveLength(0);
  });

  test("counts also those whose worker died before their lease was taken back", async () => {
    const [pipeline, memory] = [newPipeline(), new ClaimMemory()];
    await database.pool.query("insert into pipeline_controls (pipeline, max_running) values ($1, 20)", [
      pipeline,
    ]);
    await enqueue(database.pool, 40, { pipeline });

    expect(await claim(database.pool, pipeline, { memory, limit: 20, leaseMs: -3_600_000 })).toHaveLength(20);
    memory.learn(await surveyLanes(database.pool, 0));
    expect(await claim(database.pool, pipeline, { memory })).toHaveLength(0);
  });

  test("serves tenants by turns, though it seldom writes whose turn it was", async () => {
    const [pipeline, memory] = [newPipeline(), new ClaimMemory()];
    const tenants = Array.from({ length: 3 }, () => randomUUID());
    for (const tenant_id of tenants) await enqueue(database.pool, 8, { pipeline, tenant_id });

    const served = new Map<string, number>();
    for (let n = 0; n < 12; n++) {
      const run = only(await claim(database.pool, pipeline, { limit: 1, memory }));
      served.set(run.tenant_id, (served.get(run.tenant_id) ?? 0) + 1);
      await end(database.pool, [run]);
    }
    expect([...served.values()]).toEqual([4, 4, 4]);
  });

  test("finds what came to lie before its lane's begin after the next survey", async () => {
    const [pipeline, memory] = [newPipeline(), new ClaimMemory()];
    const tenant_id = randomUUID();
    await enqueue(database.pool, many + 2, { pipeline, tenant_id });
    const [first, ...others] = await claim(database.pool, pipeline, { memory, limit: many + 1 });
    if (first === undefined) throw new Error("expected a run, got: none");
    await end(database.pool, others);
    memory.learn(await surveyLanes(database.pool, 0));
    await releaseRuns(database.pool, [first]);

    const last = only(await claim(database.pool, pipeline, { memory }));
    expect(last.id).not.toBe(first.id);
    memory.learn(await surveyLanes(database.pool, 0));
    expect(only(await claim(database.pool, pipeline, { memory })).id).toBe(first.id);
  });

  test("finds at once what a transaction made that took less than the slack", async () => {
    const [pipeline, memory] = [newPipeline(), new ClaimMemory()];
    const tenant_id = randomUUID();
    await enqueue(database.pool, many, { pipeline, tenant_id });
    const slow = await database.pool.connect();
    await slow.query("begin");
    await enqueueRuns(slow, [request({ pipeline, tenant_id })]);
    await end(database.pool, await claim(database.pool, pipeline, { memory }));
    memory.learn(await surveyLanes(database.pool, slackMs));
    await slow.query("commit");
    slow.release();

    expect(await claim(database.pool, pipeline, { memory })).toHaveLength(1);
  });

  test("finds all again once it forgets", async () => {
    const [pipeline, memory] = [newPipeline(), new ClaimMemory()];
    const tenant_id = randomUUID();
    await enqueue(database.pool, many, { pipeline, tenant_id });
    await end(database.pool, await claim(database.pool, pipeline, { memory }));
    memory.learn(await surveyLanes(database.pool, 0));
    const [late] = await enqueue(database.pool, 1, { pipeline, tenant_id });
    await database.pool.query("update pipeline_runs set run_after = now() - interval '1 day' where id = $1", [
      late,
    ]);

    expect(await claim(database.pool, pipeline, { memory })).toHaveLength(0);
    memory.forget();
    expect(await claim(database.pool, pipeline, { memory })).toHaveLength(1);
  });
});

async function enqueue(
  pool: Pool,
  runs: number,
  given: Partial<RunRequest> & { pipeline: string },
): Promise<readonly string[]> {
  const tenant_id = randomUUID();
  const wanted = Array.from({ length: runs }, () => request({ tenant_id, ...given }));
  return (await enqueueRuns(pool, wanted)).map(({ id }) => id);
}

async function end(pool: Pool, runs: readonly ClaimedRun[]): Promise<void> {
  await pool.query(
    `update pipeline_runs set status = 'success', outcome = 'completed', finished_at = now(),
       lease_token = null, lease_expires_at = null, worker = null
     where id = any ($1)`,
    [runs.map(({ id }) => id)],
  );
}

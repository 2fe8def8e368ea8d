import { beforeAll, expect, test } from "vitest";
import { deleteCheckpoints } from "../../checkpoints/delete.ts";
import { Retention } from "../../checkpoints/retention.ts";
import { largestRuns, usageByPipeline } from "../../checkpoints/usage.ts";
import { acceptEntities, removeEntities } from "../../src/intake.ts";
import { failAttempt, succeedRun } from "../../src/ledger/attempt.ts";
import type { ClaimedRun } from "../../src/ledger/run.ts";
import { noUsage, SourceType } from "../../src/pipeline.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { parkRun, stamp, started } from "../support/ledger.ts";
import { runtime } from "../support/runtime.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});

/** Leaves one row of each kind for a thread. */
async function leaveCheckpoint(thread_id: string): Promise<void> {
  await database.pool.query(
    "insert into checkpoints (thread_id, checkpoint_id, checkpoint) values ($1, 'c', '{}')",
    [thread_id],
  );
  await database.pool.query(
    "insert into checkpoint_blobs (thread_id, channel, version, type) values ($1, 'text', '1', 'empty')",
    [thread_id],
  );
  await database.pool.query(
    "insert into checkpoint_writes (thread_id, checkpoint_id, task_id, idx, channel, blob) values ($1, 'c', 't', 0, 'text', '')",
    [thread_id],
  );
}

/** How many rows each table still has of a thread. */
async function rowsLeft(thread_id: string): Promise<readonly number[]> {
  const counts = ["checkpoints", "checkpoint_blobs", "checkpoint_writes"].map(async (table) => {
    const { rowCount } = await database.pool.query(`select from ${table} where thread_id = $1`, [thread_id]);
    return rowCount ?? 0;
  });
  return await Promise.all(counts);
}

async function ended(
  how: "success" | "failed" | "waiting" | "running",
  hoursAgo: number,
  pipeline = "kept a day",
): Promise<ClaimedRun> {
  const run = await started(database.pool, { pipeline });
  if (how === "success")
    await succeedRun(database.pool, run, { outcome: "completed", stamp, usage: noUsage });
  if (how === "waiting") await parkRun(database.pool, run, "who?", noUsage);
  if (how === "failed") {
    const failure = { code: "X", message: "x", retryInMs: null, counts: true, usage: noUsage };
    await failAttempt(database.pool, run, failure);
  }
  await database.pool.query(
    "update pipeline_runs set finished_at = finished_at - $2 * interval '1 hour', created_at = created_at - $2 * interval '1 hour' where id = $1",
    [run.id, hoursAgo],
  );
  await leaveCheckpoint(run.id);
  return run;
}

const keeping = [
  { name: "kept a day", keepHours: 24 },
  { name: "kept a week", keepHours: 168 },
  { name: "not kept", keepHours: 0 },
];

test("each pipeline keeps its checkpoints as long as it says, and one that nobody knows keeps them for a month", async () => {
  const gone = [await ended("success", 1, "not kept"), await ended("success", 169, "kept a week")];
  const kept = [
    await ended("success", 167, "kept a week"),
    await ended("success", 719, "of another process"),
  ];
  gone.push(await ended("success", 721, "of another process"));

  expect(await new Retention(keeping).deleteOld(database.pool)).toBe(3);
  for (const run of gone) expect(await rowsLeft(run.id)).toEqual([0, 0, 0]);
  for (const run of kept) expect(await rowsLeft(run.id)).toEqual([1, 1, 1]);
});

test("what checkpoints take up is told by pipeline and by run, with what will be freed", async () => {
  const [due, later, never] = [
    await ended("success", 25, "kept for usage"),
    await ended("success", 1, "kept for usage"),
    await ended("failed", 25, "kept for usage"),
  ];
  const keeping = [{ name: "kept for usage", keepHours: 24 }];
  const [usage] = (await usageByPipeline(database.pool, keeping)).filter(
    (of) => of.pipeline === "kept for usage",
  );
  const runs = await largestRuns(database.pool, keeping, { limit: 100, pipeline: "kept for usage" });

  expect(usage).toMatchObject({ checkpoints: usage?.runs, blobs: usage?.runs, writes: usage?.runs });
  expect(usage?.bytes).toBe((usage?.due_bytes ?? 0) + (usage?.kept_bytes ?? 0) + (usage?.open_bytes ?? 0));
  const dueAt = Object.fromEntries(runs.map(({ thread_id, due_at }) => [thread_id, due_at?.getTime()]));
  expect(dueAt[due.id]).toBeLessThan(Date.now());
  expect(dueAt[later.id]).toBeGreaterThan(Date.now());
  expect(dueAt[never.id]).toBeUndefined();
  expect(runs.length).toBe(usage?.runs);
});

test("checkpoints of runs that ended long ago go, and no others", async () => {
  const old = await ended("success", 25);
  const kept = [
    await ended("success", 23),
    await ended("failed", 25),
    await ended("waiting", 25),
    await ended("running", 25),
  ];
  await leaveCheckpoint("a thread of somebody else");

  expect(await new Retention(keeping).deleteOld(database.pool)).toBe(1);
  expect(await rowsLeft(old.id)).toEqual([0, 0, 0]);
  for (const run of kept) expect(await rowsLeft(run.id)).toEqual([1, 1, 1]);
  expect(await rowsLeft("a thread of somebody else")).toEqual([1, 1, 1]);
});

test("all checkpoints of one run go at once, and none of another", async () => {
  const [one, other] = [await ended("failed", 0), await ended("failed", 0)];
  await deleteCheckpoints(database.pool, one.id);

  expect(await rowsLeft(one.id)).toEqual([0, 0, 0]);
  expect(await rowsLeft(other.id)).toEqual([1, 1, 1]);
});

test("those of a dead letter go with its entity: nobody would come for them any more", async () => {
  const [gone, kept] = [await ended("failed", 1), await ended("failed", 1)];
  const { registry } = runtime(database);
  const { tenant_id, source_type, source_id } = gone;
  const entity = { source_type: SourceType.parse(source_type), source_id, title: "", text: "", metadata: {} };
  await acceptEntities(database.pool, registry, { tenant_id, source: "test", entities: [entity] });
  await removeEntities(database.pool, registry, tenant_id, [entity]);

  expect(await rowsLeft(gone.id)).toEqual([0, 0, 0]);
  expect(await rowsLeft(kept.id)).toEqual([1, 1, 1]);
});

import { afterEach, beforeAll, expect, test } from "vitest";
import { Retention } from "../../checkpoints/retention.ts";
import { transaction } from "../../src/db.ts";
import { succeedRun } from "../../src/ledger/attempt.ts";
import { noUsage } from "../../src/pipeline.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { stamp, started } from "../support/ledger.ts";
import { emptyLedger } from "../support/runtime.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});
afterEach(() => emptyLedger(database));

/** Leaves a run that ended so many days ago, with one checkpoint. */
async function ended(days: number): Promise<void> {
  const run = await started(database.pool, { pipeline: "tidied" });
  await succeedRun(database.pool, run, { outcome: "completed", stamp, usage: noUsage });
  await database.pool.query(
    "update pipeline_runs set finished_at = date_trunc('day', now()) - $2 * interval '1 day' where id = $1",
    [run.id, days],
  );
  await database.pool.query(
    "insert into checkpoints (thread_id, checkpoint_id, checkpoint) values ($1, 'c', '{}')",
    [run.id],
  );
}

const daily = () => new Retention([{ name: "tidied", keepHours: 24 }]);

async function checkpointsLeft(): Promise<number | null> {
  return (await database.pool.query("select from checkpoints")).rowCount;
}

test("old checkpoints go, however many more there are than one statement takes", async () => {
  // Some ended at the same moment, as runs do that one statement cancels.
  for (const days of [2, 3, 3, 3, 4, 5, 6]) await ended(days);

  expect(await daily().deleteOld(database.pool, { limit: 2 })).toBe(7);
  expect(await checkpointsLeft()).toBe(0);
});

test("a worker that is told to stop leaves the rest to the next one", async () => {
  const stop = new AbortController();
  for (const days of [2, 3, 4]) await ended(days);
  const stopping = {
    async query(...query: Parameters<typeof database.pool.query>) {
      stop.abort();
      return await database.pool.query(...query);
    },
  } as unknown as typeof database.pool;

  expect(await daily().deleteOld(stopping, { limit: 1, signal: stop.signal })).toBe(1);
  expect(await checkpointsLeft()).toBe(2);
});

test("a walk goes on where the last one ended", async () => {
  const retention = daily();
  const asked: unknown[] = [];
  const listening = {
    async query(...query: Parameters<typeof database.pool.query>) {
      asked.push(query[1]);
      return await database.pool.query(...query);
    },
  } as unknown as typeof database.pool;
  for (const days of [3, 4]) await ended(days);
  await retention.deleteOld(database.pool);
  await ended(2);

  expect(await retention.deleteOld(listening)).toBe(1);
  expect(asked[0]).not.toContain("-infinity");
});

test("deleting waits for no claim, and no claim for it", async () => {
  await ended(3);
  await transaction(database.pool, async (db) => {
    await db.query("select from pipeline_runs for update");
    expect(await daily().deleteOld(database.pool)).toBe(1);
  });
});

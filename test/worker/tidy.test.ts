import { afterEach, beforeAll, expect, test } from "vitest";
import { deleteOldCheckpoints } from "../../checkpoints/retention.ts";
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
  const run = await started(database.pool);
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

async function checkpointsLeft(): Promise<number | null> {
  return (await database.pool.query("select from checkpoints")).rowCount;
}

test("old checkpoints go, however many more there are than one statement takes", async () => {
  // Some ended at the same moment, as runs do that one statement cancels.
  for (const days of [2, 3, 3, 3, 4, 5, 6]) await ended(days);

  expect(await deleteOldCheckpoints(database.pool, { limit: 2 })).toBe(7);
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

  expect(await deleteOldCheckpoints(stopping, { limit: 1, signal: stop.signal })).toBe(1);
  expect(await checkpointsLeft()).toBe(2);
});

import { randomUUID } from "node:crypto";
import { beforeAll, expect, test } from "vitest";
import { reapExpired } from "../../src/ledger/reap.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { started } from "../support/ledger.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});

test("looks for expired leases among what runs, however much has ended", async () => {
  await database.pool.query(
    `insert into pipeline_runs
       (tenant_id, source_type, source_id, source_version, pipeline, max_attempts, status, outcome, finished_at)
     select $1, 'scene', gen_random_uuid(), 1, 'old', 3, 'success', 'completed', now()
     from generate_series(1, 20000)`,
    [randomUUID()],
  );
  await database.pool.query("analyze pipeline_runs");
  const run = await started(database.pool, {}, { leaseMs: -1 });
  const client = await database.pool.connect();
  await client.query("begin");
  const before = await client.query(reads);
  const reaped = await reapExpired(client);
  const after = await client.query(reads);
  await client.query("commit");
  client.release();

  expect(reaped.map(({ id }) => id)).toEqual([run.id]);
  expect(after.rows[0].reads).toBe(before.rows[0].reads);
});

/** How often this transaction has read the ledger whole so far. */
const reads =
  "select seq_scan::integer as reads from pg_stat_xact_user_tables where relname = 'pipeline_runs'";

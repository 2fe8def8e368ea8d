import { randomUUID } from "node:crypto";
import { beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { many, transaction } from "../../src/db.ts";
import { enqueueRuns } from "../../src/ledger/enqueue.ts";
import { givenLeases, leaseColumns, lockedLeases } from "../../src/ledger/lease.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { explaining } from "../support/explain.ts";
import { claim, newPipeline, only, request } from "../support/ledger.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});

test("a lease is found by its key, also where statistics were gathered when each run was of a tenant of its own", async () => {
  const { pool } = database;
  const [before, pipeline, tenant_id] = [newPipeline(), newPipeline(), randomUUID()];
  await enqueueRuns(
    pool,
    Array.from({ length: 200 }, () => request({ pipeline: before })),
  );
  await pool.query("analyze pipeline_runs");
  for (let page = 0; page < 10; page++)
    await enqueueRuns(
      pool,
      Array.from({ length: 1_000 }, () => request({ pipeline, tenant_id })),
    );
  const runs = await claim(pool, pipeline, { limit: 50 });
  expect(runs).toHaveLength(50);

  const explained = explaining(pool, "locked");
  await transaction(explained.pool, (db) =>
    many(db, z.unknown(), { name: "locked", text: lockedLeases(givenLeases) }, leaseColumns(runs)),
  );

  expect(only(explained.found).pages).toBeLessThan(50 * 20);
}, 60_000);

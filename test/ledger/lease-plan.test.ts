import { randomUUID } from "node:crypto";
import { beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { one } from "../../src/db.ts";
import { enqueueRuns } from "../../src/ledger/enqueue.ts";
import { givenLeases, leaseColumns, lockedLeases } from "../../src/ledger/lease.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { claim, newPipeline, request } from "../support/ledger.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});

const Explained = z.object({
  "QUERY PLAN": z.tuple([
    z.object({ Plan: z.object({ "Shared Hit Blocks": z.int(), "Shared Read Blocks": z.int() }) }),
  ]),
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

  const explained = await one(
    pool,
    Explained,
    `explain (analyze, buffers, format json) ${lockedLeases(givenLeases)}`,
    leaseColumns(runs),
  );

  const { Plan } = explained["QUERY PLAN"][0];
  expect(Plan["Shared Hit Blocks"] + Plan["Shared Read Blocks"]).toBeLessThan(50 * 20);
}, 60_000);

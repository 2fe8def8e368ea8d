import { randomUUID } from "node:crypto";
import { expect, test } from "vitest";
import { z } from "zod";
import { many, one, openPool, type Pool } from "../../src/db.ts";
import { testDatabase } from "../support/database.ts";
import { type Explanation, explaining } from "../support/explain.ts";
import { claim, only } from "../support/ledger.ts";

const limit = 50;
const million = 1_000_000;

test("a claim reads no more with a million runs pending, and a million that cannot start, than with ten thousand", {
  timeout: 300_000,
}, async () => {
  const { pool } = await testDatabase();
  const tenant_id = randomUUID();
  await insert(pool, 10_000, { tenant_id });
  const small = await explainClaim(pool);

  await withoutIndexes(pool, async () => {
    await insert(pool, million - 10_000, { tenant_id });
    await insert(pool, million / 4, { tenant_id: await pausedTenant(pool) });
    await insert(pool, million / 4, { tenant_id, pipeline: await pausedPipeline(pool) });
    await insert(pool, million / 4, { tenant_id, reingest_id: await pausedReingest(pool, tenant_id) });
    await insert(pool, million / 8, { tenant_id, run_after: "now() + interval '1 day'" });
    await insert(pool, million / 8, { tenant_id, dead: true });
  });
  const large = await explainClaim(pool);

  expectBounded(small);
  expectBounded(large);
  expect(large.pages / small.pages).toBeLessThan(1.5);
});

test("a claim that was planned while nothing was pending reads no more once much is", async () => {
  const { url } = await testDatabase();
  const pool = openPool(url, { max: 1 });
  expect(await claim(pool, "p")).toEqual([]);
  await insert(pool, 20_000, { tenant_id: randomUUID() });

  expectBounded(await explainClaim(pool));
  await pool.end();
});

/** By indexes alone, and of those no more than the runs that it takes, a few times over. */
function expectBounded({ scans, rows }: Explanation): void {
  expect(scans("pipeline_runs").filter((scan) => !/^(Index|Tid)/.test(scan))).toEqual([]);
  expect(rows("pipeline_runs")).toBeGreaterThan(limit);
  expect(rows("pipeline_runs")).toBeLessThan(10 * limit);
}

async function explainClaim(pool: Pool): Promise<Explanation> {
  const explained = explaining(pool, "claim");
  expect(await claim(explained.pool, "p", { pipelines: ["p", "paused"], limit })).toHaveLength(limit);
  return only(explained.found);
}

type Inserted = {
  readonly tenant_id: string;
  readonly pipeline?: string;
  readonly reingest_id?: string;
  readonly run_after?: string;
  readonly dead?: boolean;
};

/** Rows go in many times faster where their ids are simply counted. */
let inserted = 0;

async function insert(pool: Pool, runs: number, given: Inserted): Promise<void> {
  const { tenant_id, pipeline = "p", reingest_id, run_after = "now()", dead = false } = given;
  await pool.query(
    `insert into pipeline_runs
       (tenant_id, id, source_type, source_id, source_version, pipeline, max_attempts, reingest_id, run_after,
        status, finished_at, error_code, error_message)
     select $1, id, 'scene', id, 1, $2, 3, $3, ${run_after}, ${dead ? "'failed', now(), 'GRAPH_FAILED', 'no'" : "'pending', null, null, null"}
     from generate_series($4::bigint, $5) nth, lateral (select lpad(to_hex(nth), 32, '0')::uuid as id) new`,
    [tenant_id, pipeline, reingest_id, inserted + 1, inserted + runs],
  );
  inserted += runs;
}

/** And where the indexes are made afterwards, and nothing is logged. */
async function withoutIndexes(pool: Pool, work: () => Promise<void>): Promise<void> {
  const indexes = await many(
    pool,
    z.object({ name: z.string(), made: z.string() }),
    `select indexrelid::regclass::text as name, pg_get_indexdef(indexrelid) as made from pg_index
     where indrelid = 'pipeline_runs'::regclass and not indisprimary`,
  );
  await pool.query("alter table pipeline_runs set unlogged");
  await pool.query(`drop index ${indexes.map(({ name }) => name).join(", ")}`);
  await work();
  for (const { made } of indexes) await pool.query(made);
}

async function pausedTenant(pool: Pool): Promise<string> {
  const tenant_id = randomUUID();
  await pool.query("insert into tenant_controls (tenant_id, paused_at) values ($1, now())", [tenant_id]);
  return tenant_id;
}

async function pausedPipeline(pool: Pool): Promise<string> {
  await pool.query("insert into pipeline_controls (pipeline, paused_at) values ('paused', now())");
  return "paused";
}

async function pausedReingest(pool: Pool, tenant_id: string): Promise<string> {
  const { id } = await one(
    pool,
    z.object({ id: z.guid() }),
    `insert into reingests (tenant_id, status, request, priority, total) values ($1, 'paused', '{}', 0, 0)
     returning id`,
    [tenant_id],
  );
  return id;
}

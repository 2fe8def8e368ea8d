import { randomUUID } from "node:crypto";
import { expect, test, vi } from "vitest";
import type { Pool } from "../../src/db.ts";
import { sha256 } from "../../src/hash.ts";
import type { Reingest } from "../../src/reingest/reingest.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { startProcess, type TestProcess } from "../support/process.ts";
import { fillTenant, filters, newReingest, startProducer, untilReingest } from "../support/reingests.ts";
import { runtime } from "../support/runtime.ts";

const [kills, entities] = [5, 2_000];

test("a producer that is killed again and again loses no pair and enqueues none twice", {
  timeout: 60_000,
}, async () => {
  const seed = Number(process.env.KILL_SEED ?? Date.now() % 1_000_000);
  console.info(`reingest/kill.test.ts: KILL_SEED=${seed}`);
  const tenant_id = randomUUID();
  const [calm, stormy] = [await testDatabase(), await testDatabase()];
  const [undisturbed, killed] = [await toProduce(calm, tenant_id), await toProduce(stormy, tenant_id)];

  startProducer(runtime(calm), calm, { pendingBound: Number.POSITIVE_INFINITY });
  await untilProduced(calm.pool, undisturbed);
  let midway = 0;
  for (let n = 0; n < kills; n++) {
    await killAfter(stormy, fraction(seed, n) * 200);
    if (await isMidway(stormy.pool)) midway++;
  }
  expect(midway).toBeGreaterThan(0);
  const last = startKillable(stormy);
  await untilProduced(stormy.pool, killed);
  expect(await last.finish()).toEqual({ code: 0, signal: null });

  expect(await endOf(stormy.pool)).toEqual(await endOf(calm.pool));
});

async function toProduce(database: TestDatabase, tenant_id: string): Promise<Reingest> {
  await fillTenant(runtime(database), tenant_id, entities, { everyNth: 3 });
  const planned = { status: "planned", started_at: null, produced_at: null };
  const request = JSON.stringify(filters({ batch_size: 7 }));
  return await newReingest(database.pool, { ...planned, tenant_id, total: entities, request });
}

async function untilProduced(pool: Pool, reingest: Reingest): Promise<void> {
  await untilReingest(pool, reingest, ({ produced_at }) => produced_at !== null);
}

/** Kills a producer once it has decided about so many more entities. */
async function killAfter(database: TestDatabase, more: number): Promise<void> {
  const { pool } = database;
  const before = await decidedIn(pool);
  const producer = startKillable(database);
  await vi.waitUntil(async () => (await decidedIn(pool)) > before + more, { timeout: 15_000, interval: 3 });
  await producer.kill("SIGKILL");
}

function startKillable(database: TestDatabase): TestProcess {
  return startProcess("killable-producer.ts", [database.url, runtime(database).models.embeddingName]);
}

async function decidedIn(pool: Pool): Promise<number> {
  const { rows } = await pool.query("select skipped + enqueued as decided from reingests");
  return Number(rows[0].decided);
}

async function isMidway(pool: Pool): Promise<boolean> {
  const { rows } = await pool.query("select from reingests where cursor is not null and produced_at is null");
  return rows.length === 1;
}

/** All that is left in the end, but for ids and times. */
async function endOf(pool: Pool) {
  const runs = await pool.query(
    "select source_type, source_id, source_version, pipeline, status, priority, force from pipeline_runs order by source_id",
  );
  const reingests = await pool.query("select status, total, skipped, enqueued, cursor from reingests");
  expect(runs.rows).toHaveLength(Number(reingests.rows[0].enqueued));
  return { runs: runs.rows, reingests: reingests.rows };
}

/** The `n`th of the random numbers from 0 to 1 that `seed` gives. */
function fraction(seed: number, n: number): number {
  return Number.parseInt(sha256(`${seed} ${n}`).slice(0, 8), 16) / 0xffff_ffff;
}

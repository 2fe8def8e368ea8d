import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { expect, test, vi } from "vitest";
import type { Pool } from "../../src/db.ts";
import { sha256 } from "../../src/hash.ts";
import { acceptEntities } from "../../src/intake.ts";
import type { NewEntity } from "../../src/store/entities.ts";
import { scene } from "../support/content.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { slowPipelines, workUntilDone } from "../support/killable-worker.ts";
import { startProcess } from "../support/process.ts";
import { runtime } from "../support/runtime.ts";

const kills = 6;

test("a worker that is killed again and again leaves what an undisturbed one leaves", {
  timeout: 120_000,
}, async () => {
  const seed = Number(process.env.KILL_SEED ?? Date.now() % 1_000_000);
  console.info(`kill.test.ts: KILL_SEED=${seed}`);
  const tenant_id = randomUUID();
  const scenes = Array.from({ length: 12 }, (_, n) =>
    scene({ title: `Scene ${n}`, text: `one two three ${n}` }),
  );
  const [calm, stormy] = [await testDatabase(), await testDatabase()];
  await takeIn(calm, tenant_id, scenes);
  await takeIn(stormy, tenant_id, scenes);

  await workUntilDone(calm.url);
  for (let n = 0; n < kills; n++) await startAndKill(stormy, fraction(seed, n) * 250);
  const last = startProcess("killable-worker.ts", [stormy.url]);
  expect([await last.line(), await last.line()]).toEqual(["started", "done"]);
  expect(await last.finish()).toEqual({ code: 0, signal: null });

  expect(await endOf(stormy.pool)).toEqual(await endOf(calm.pool));
  expect(await attemptsIn(calm.pool)).toBe(36);
  expect(await attemptsIn(stormy.pool)).toBeGreaterThan(36);
});

async function takeIn(
  database: TestDatabase,
  tenant_id: string,
  entities: readonly NewEntity[],
): Promise<void> {
  const { pool, registry } = runtime(database, ...slowPipelines);
  await acceptEntities(pool, registry, { tenant_id, source: "test", entities });
}

/** Kills a worker some time after it has started its first graph, however long that takes; or after it found none. */
async function startAndKill({ pool, url }: TestDatabase, afterMs: number): Promise<void> {
  const worker = startProcess("killable-worker.ts", [url]);
  await worker.line();
  const done = worker.line();
  const begun = vi.waitUntil(() => hasStarted(pool, worker.child.pid), { timeout: 60_000 });
  await Promise.race([begun, done]);
  await delay(afterMs);
  await worker.kill("SIGKILL");
}

async function hasStarted(pool: Pool, pid: number | undefined): Promise<boolean> {
  const { rowCount } = await pool.query(
    "select from pipeline_runs where graph_started_at is not null and worker like '%-' || $1 || '-%'",
    [pid],
  );
  return rowCount !== 0;
}

/** All that is left in the end, but for ids and times. */
async function endOf(pool: Pool): Promise<Record<string, readonly unknown[]>> {
  const key = "tenant_id, source_type, source_id";
  const stamp = "pipeline_version, model, prompt_hash, input_hash";
  const asked = {
    runs: `${key}, pipeline, status, outcome, source_version, ${stamp}`,
    documents: `${key}, source_version, kind, language, ${stamp}`,
    chunks: `${key}, ordinal, path, text, start_offset, end_offset, tokens, content_kind`,
    chunk_vectors: `${key}, ordinal, model, dimensions, text_hash, vector`,
    chunk_fts: `${key}, ordinal, config, words::text`,
    enrichments: `${key}, pipeline, source_version, outcome, output, ${stamp}`,
    events: `${key}, event, version, metadata`,
  };
  const tables = Object.entries(asked).map(async ([table, columns]) => {
    const { rows } = await pool.query(
      `select ${columns} from ${table === "runs" ? "pipeline_runs" : table} order by ${columns}`,
    );
    return [table, rows] as const;
  });
  return Object.fromEntries(await Promise.all(tables));
}

async function attemptsIn(pool: Pool): Promise<number> {
  const { rows } = await pool.query("select sum(attempt)::integer as attempts from pipeline_runs");
  return rows[0].attempts;
}

/** The `n`th of the random numbers from 0 to 1 that `seed` gives. */
function fraction(seed: number, n: number): number {
  return Number.parseInt(sha256(`${seed} ${n}`).slice(0, 8), 16) / 0xffff_ffff;
}

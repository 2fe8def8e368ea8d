import { createHash } from "node:crypto";
import type { Pool } from "../src/db.ts";
import { finish, runCli } from "./novel.ts";
import { type BenchOptions, machine, withDatabase } from "./support.ts";

const tenant = "0b5c1c4e-9f0e-4b63-8f43-6f1d0f4c2a10";
const lease = { LOREGRAPH_LEASE_MS: "2000" };

/** Kills a worker ten times in the middle of a novel, and holds what is there at the end against an uninterrupted run. */
export async function bench({ rounds, file, seed }: BenchOptions) {
  if (!file) throw new Error("expected --file with the path of a novel");
  const kills = Math.max(10, rounds);
  const straight = await withDatabase(({ pool, url, postgres }) =>
    workThrough(pool, url, file, [], postgres),
  );
  const waits = Array.from({ length: kills }, (_, nth) => 800 + random(seed, nth) * 1_200);
  const killed = await withDatabase(({ pool, url, postgres }) =>
    workThrough(pool, url, file, waits, postgres),
  );
  const tables = Object.keys(contents) as (keyof typeof contents)[];
  const different = tables.filter((table) => straight.tables[table].digest !== killed.tables[table].digest);
  return {
    bench: "kill",
    what: `${kills} SIGKILLs of the worker, seed ${seed}, beside an uninterrupted run`,
    machine: machine(),
    postgres: straight.postgres,
    rows: Object.fromEntries(
      tables.map((table) => [
        table,
        { straight: straight.tables[table].rows, killed: killed.tables[table].rows },
      ]),
    ),
    attempts_that_crashed: killed.crashes,
    different,
    equal: different.length === 0,
  };
}

/** Imports the novel, kills a worker after each of the waits (in milliseconds), and lets a last one finish. */
async function workThrough(
  pool: Pool,
  url: string,
  file: string,
  waits: readonly number[],
  postgres: string,
) {
  await finish(runCli(url, ["import", file, "--tenant", tenant, "--json"]));
  for (const wait of waits) await killAfter(url, wait);
  await finish(runCli(url, ["worker", "--until-idle", "--json"], lease));
  return { tables: await snapshot(pool), crashes: await crashes(pool), postgres };
}

async function killAfter(url: string, ms: number): Promise<void> {
  const child = runCli(url, ["worker", "--until-idle"], lease);
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.stdout?.resume();
  const timer = setTimeout(() => child.kill("SIGKILL"), ms);
  await ended;
  clearTimeout(timer);
}

/** A number from 0 to 1 that the seed decides. */
function random(seed: number, nth: number): number {
  return createHash("sha256").update(`${seed} ${nth}`).digest().readUInt32BE(0) / 2 ** 32;
}

/** What was learnt, without ids of runs and times: those differ from run to run, nothing else may. */
const contents = {
  documents:
    "select source_type, source_id, source_version, kind, language, model, input_hash from documents",
  chunks:
    "select source_type, source_id, ordinal, path, text, start_offset, end_offset, tokens, content_kind from chunks",
  chunk_vectors:
    "select source_type, source_id, ordinal, model, dimensions, text_hash, vector::text from chunk_vectors",
  chunk_fts: "select source_type, source_id, ordinal, config, words::text from chunk_fts",
  enrichments:
    "select source_type, source_id, pipeline, outcome, output::text, model, input_hash from enrichments",
  events: "select event, source_type, source_id, version, metadata::text from events",
} as const;

type Snapshot = Record<keyof typeof contents, { rows: number; digest: string }>;

async function snapshot(pool: Pool): Promise<Snapshot> {
  const entries = await Promise.all(
    Object.entries(contents).map(async ([table, sql]) => {
      const { rows } = await pool.query({ text: sql, rowMode: "array" });
      const lines = rows.map((row) => JSON.stringify(row)).sort();
      return [
        table,
        { rows: rows.length, digest: createHash("sha256").update(lines.join("\n")).digest("hex") },
      ];
    }),
  );
  return Object.fromEntries(entries);
}

async function crashes(pool: Pool): Promise<number> {
  const { rows } = await pool.query(
    "select count(*)::integer as crashes from pipeline_runs, jsonb_array_elements(errors) e where e ->> 'code' = 'LEASE_EXPIRED'",
  );
  return rows[0].crashes;
}

import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { readConfig } from "../src/config.ts";
import { openPool, type Pool } from "../src/db.ts";
import { connectPostgres } from "../src/postgres/connect.ts";
import { migrate } from "../src/postgres/migrate.ts";

export type BenchOptions = {
  readonly rounds: number;
  readonly file?: string | undefined;
  /** Only these parts, separated by commas; of a bench that has parts. */
  readonly only?: string | undefined;
  /** How much there is to do, of a bench that can do less than it does by itself. */
  readonly jobs?: number | undefined;
  /** How long it goes on, of a bench that takes a set time. */
  readonly minutes?: number | undefined;
  /** What decides every random choice. */
  readonly seed: number;
};

/** A migrated database of its own, on the configured Postgres or on an embedded one in a temporary folder. */
export async function withDatabase<Result>(
  work: (database: { pool: Pool; url: string; postgres: string }) => Promise<Result>,
): Promise<Result> {
  const home = await mkdtemp(join(tmpdir(), "loregraph-bench-"));
  await chmod(home, 0o755);
  const { url: server, release } = await connectPostgres({ ...readConfig(), home });
  const name = `loregraph_bench_${randomBytes(4).toString("hex")}`;
  const admin = new pg.Client({ connectionString: server });
  await admin.connect();
  try {
    await admin.query(`create database ${name}`);
    const url = Object.assign(new URL(server), { pathname: `/${name}` }).href;
    await migrate(url, { schema: "loregraph" });
    const pool = openPool(url, { max: 24 });
    try {
      return await work({ pool, url, postgres: await settings(pool) });
    } finally {
      await pool.end();
    }
  } finally {
    await admin.query(`drop database if exists ${name} with (force)`);
    await admin.end();
    await release();
    await rm(home, { recursive: true, force: true });
  }
}

async function settings(pool: Pool): Promise<string> {
  const { rows } = await pool.query(
    "select version() as version, current_setting('synchronous_commit') as commit, current_setting('fsync') as fsync",
  );
  const { version, commit, fsync } = rows[0];
  return `${String(version).split(" on ")[0]}, synchronous_commit ${commit}, fsync ${fsync}`;
}

export function machine(): string {
  return `${cpus().length} × ${cpus()[0]?.model ?? "unknown"}, Node ${process.version}`;
}

/** A package with the version that is installed. */
export function packageVersion(name: string): string {
  const file = new URL(`../node_modules/${name}/package.json`, import.meta.url);
  return `${name} ${JSON.parse(readFileSync(file, "utf8")).version}`;
}

/** The median with the least and the greatest. */
export function spread(values: readonly number[]): { median: number; least: number; most: number } {
  const sorted = values.toSorted((a, b) => a - b);
  const round = (value: number | undefined) => Math.round((value ?? 0) * 100) / 100;
  return { median: round(sorted[sorted.length >> 1]), least: round(sorted[0]), most: round(sorted.at(-1)) };
}

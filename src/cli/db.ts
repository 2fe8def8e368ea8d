/** What `loregraph db …` does. Each function answers the line to print, but for `psql`, which prints itself. */
import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import type { Config } from "../config.ts";
import { databaseUnavailable } from "../db.ts";
import { LoregraphError } from "../errors.ts";
import { connectPostgres } from "../postgres/connect.ts";
import { deleteServer, endServer, keepServer } from "../postgres/embedded.ts";
import type { OnProgress } from "../postgres/server.ts";

type Database = Pick<Config, "databaseUrl" | "home" | "schema">;

/** Starts the embedded PostgreSQL, and lets it run until `stopDatabase`, whoever comes and goes. */
export async function startDatabase(config: Database, onProgress?: OnProgress): Promise<string> {
  if (config.databaseUrl) {
    throw new LoregraphError("CONFIG_INVALID", "DATABASE_URL is set, so the embedded PostgreSQL is not used");
  }
  const { url, log } = await keepServer(config.home, onProgress);
  return `PostgreSQL runs at ${url}, its log is ${log}; stop it with \`loregraph db stop\``;
}

/** Stops the embedded PostgreSQL, whoever uses it. */
export async function stopDatabase(config: Database): Promise<string> {
  return (await endServer(config.home)) ? "PostgreSQL stopped" : "PostgreSQL was not running";
}

/** Deletes everything: our schema in the database of DATABASE_URL, or else the embedded data. Does not ask. */
export async function resetDatabase(config: Database): Promise<string> {
  if (!config.databaseUrl) return `deleted ${await deleteServer(config.home)}`;
  await dropSchema(config.databaseUrl, config.schema);
  return `dropped the schema ${config.schema}`;
}

/** Runs the system's psql, in which unqualified names mean our schema. Answers its exit code. */
export async function psqlDatabase(config: Database, args: readonly string[]): Promise<number> {
  const { url, embedded, release } = await connectPostgres(config);
  const folder = await mkdtemp(join(tmpdir(), "loregraph-psql-"));
  try {
    const address = await passwordAside(url, config.schema, join(folder, "pgpass"));
    return await runPsql(address, args, embedded ? `${url} (after \`loregraph db start\`)` : "DATABASE_URL");
  } finally {
    await rm(folder, { recursive: true });
    await release();
  }
}

async function dropSchema(url: string, schema: string): Promise<void> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 10_000 });
  client.on("error", () => {});
  try {
    await client.connect().catch((error) => Promise.reject(databaseUnavailable(url, error)));
    await refuseForeign(client, schema);
    await client.query(`drop schema if exists "${schema}" cascade`);
  } finally {
    await client.end();
  }
}

/** A setting may name somebody else's schema: only one that our migrations made is ours to drop. */
async function refuseForeign(client: pg.Client, schema: string): Promise<void> {
  const asked = "select to_regnamespace($1) is null as gone, to_regclass($2) is not null as ours";
  const { rows } = await client.query(asked, [schema, `${schema}.pipeline_runs`]);
  if (rows[0]?.gone || rows[0]?.ours) return;
  throw new LoregraphError(
    "CONFIG_INVALID",
    `the schema ${schema} was not made by Loregraph: nothing was dropped`,
  );
}

/** The URL with its password moved to a file that only we read: arguments can be read by everybody. */
async function passwordAside(url: string, schema: string, file: string): Promise<string> {
  const address = new URL(url);
  address.searchParams.set("options", `-csearch_path=${schema},public`);
  if (address.password) {
    const password = decodeURIComponent(address.password).replace(/[\\:]/g, "\\$&");
    await writeFile(file, `*:*:*:*:${password}\n`, { mode: 0o600 });
    address.searchParams.set("passfile", file);
    address.password = "";
  }
  // In a query, URL writes a blank as "+", which psql takes for a plus.
  address.search = address.search.replaceAll("+", "%20");
  return address.href;
}

function runPsql(address: string, args: readonly string[], elsewhere: string): Promise<number> {
  // Ctrl-C cancels psql's query; it must not end us before psql ends.
  const ignore = () => {};
  process.on("SIGINT", ignore);
  return new Promise<number>((resolve, reject) => {
    const child = spawn("psql", [address, ...args], { stdio: "inherit" });
    child.on("exit", (code) => resolve(code ?? 1));
    child.on("error", (cause) => reject(psqlMissing(elsewhere, cause)));
  }).finally(() => process.off("SIGINT", ignore));
}

function psqlMissing(address: string, cause: unknown): LoregraphError {
  const message = `there is no psql on the PATH; connect another client to ${address}`;
  return new LoregraphError("CONFIG_INVALID", message, { cause });
}

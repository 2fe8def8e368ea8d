import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { runner } from "node-pg-migrate";
import pg from "pg";
import { z } from "zod";
import { type Db, databaseUnavailable, many, one, type Pool } from "../db.ts";
import { LoregraphError, messageOf } from "../errors.ts";
import { ownFile } from "../own-file.ts";

export type MigrateOptions = {
  /** The schema that holds every table; made where it is missing. */
  readonly schema: string;
  /** Told when another process migrates and this one waits for it. */
  readonly onWait?: () => void;
  /** The folder of the migrations. Defaults to the project's own. */
  readonly folder?: string;
};

/**
 * Brings the database to the newest migration; any number of processes may ask at once. Each file is one
 * transaction, and its unqualified names mean `schema`. Answers the names of those it applied.
 */
export async function migrate(source: string | Pool, options: MigrateOptions): Promise<readonly string[]> {
  const client = new pg.Client(typeof source === "string" ? { connectionString: source } : source.options);
  client.on("error", () => {});
  try {
    await connect(client);
    await waitForTurn(client, options);
    await makeSchema(client, options.schema);
    await refuseNewer(client, options);
    const names = await pendingMigrations(client, options);
    for (const name of names) await apply(client, name, options);
    return names;
  } finally {
    // Ends the turn, too: the lock is the connection's.
    await client.end();
  }
}

/** The migrations that this database still lacks, in order. */
export async function pendingMigrations(db: Db, options: MigrateOptions): Promise<readonly string[]> {
  const files = await readdir(options.folder ?? ownFile("migrations"));
  const applied = await appliedMigrations(db, options.schema);
  return files
    .filter((file) => file.endsWith(".sql"))
    .map((file) => file.slice(0, -".sql".length))
    .filter((name) => !applied.has(name))
    .sort();
}

/** An older program on a newer database would write what the newer one no longer means. */
async function refuseNewer(
  db: Db,
  { schema, folder = ownFile("migrations") }: MigrateOptions,
): Promise<void> {
  const own = new Set((await readdir(folder)).map((file) => file.replace(/\.sql$/, "")));
  const unknown = [...(await appliedMigrations(db, schema))].filter((name) => !own.has(name));
  if (unknown.length === 0) return;
  const message = `the database was migrated by a newer version (${unknown.sort().join(", ")}): use that one`;
  throw new LoregraphError("MIGRATION_FAILED", message);
}

const table = "migrations";

async function appliedMigrations(db: Db, schema: string): Promise<ReadonlySet<string>> {
  const { there } = await one(
    db,
    z.object({ there: z.boolean() }),
    "select to_regclass($1) is not null as there",
    [`${schema}.${table}`],
  );
  if (!there) return new Set();
  const rows = await many(db, z.object({ name: z.string() }), `select name from "${schema}".${table}`);
  return new Set(rows.map(({ name }) => name));
}

async function connect(client: pg.Client): Promise<void> {
  try {
    await client.connect();
  } catch (error) {
    const { user, host, port, database } = client;
    throw databaseUnavailable(`postgres://${user}@${host}:${port}/${database}`, error);
  }
}

async function waitForTurn(db: Db, { schema, onWait }: MigrateOptions): Promise<void> {
  const key = `loregraph migrates ${schema}`;
  const Taken = z.object({ taken: z.boolean() });
  const { taken } = await one(db, Taken, "select pg_try_advisory_lock(hashtextextended($1, 0)) as taken", [
    key,
  ]);
  if (taken) return;
  onWait?.();
  await db.query("select pg_advisory_lock(hashtextextended($1, 0))", [key]);
}

/** Asks first: `create schema if not exists` demands the right to create one even where it is there. */
async function makeSchema(db: Db, schema: string): Promise<void> {
  const There = z.object({ there: z.boolean() });
  const { there } = await one(db, There, "select to_regnamespace($1) is not null as there", [schema]);
  if (!there) await db.query(`create schema "${schema}"`);
}

/** One call a file, so that a failure names it. The lock is already ours. */
async function apply(
  client: pg.Client,
  name: string,
  { schema, folder = ownFile("migrations") }: MigrateOptions,
) {
  try {
    await runner({
      dbClient: client,
      dir: folder,
      file: name,
      direction: "up",
      schema: [schema, "public"],
      migrationsSchema: schema,
      migrationsTable: table,
      migrationLoaderStrategies: [{ extensions: [".sql"], loader: "sql" }],
      singleTransaction: true,
      noLock: true,
      logger: silent,
    });
  } catch (cause) {
    const at = await lineOf(cause, join(folder, `${name}.sql`));
    throw new LoregraphError("MIGRATION_FAILED", `migrations/${name}.sql${at}: ${messageOf(cause)}`, {
      cause,
    });
  }
}

const nothing = () => {};
const silent = { debug: nothing, info: nothing, warn: nothing, error: nothing };

/** `:12` where Postgres told at which character it stumbled. */
async function lineOf(error: unknown, file: string): Promise<string> {
  const position = error instanceof pg.DatabaseError ? Number(error.position) : Number.NaN;
  if (Number.isNaN(position)) return "";
  const before = (await readFile(file, "utf8")).slice(0, position);
  return `:${before.split("\n").length}`;
}

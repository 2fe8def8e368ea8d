import { createHash } from "node:crypto";
import { Socket } from "node:net";
import pg from "pg";
import type { z } from "zod";
import { LoregraphError, messageOf } from "./errors.ts";

/** Anything that runs a statement: the pool, or a client inside a transaction. */
export type Db = Pick<pg.ClientBase, "query">;
export type Pool = pg.Pool;

export type PoolOptions = {
  /** The schema that every unqualified name means. Defaults to `loregraph`. */
  readonly schema?: string;
  /** The most connections. Defaults to 10. */
  readonly max?: number;
  /** What `pg_stat_activity` shows. Defaults to `loregraph`. */
  readonly name?: string;
  /**
   * How long a statement may go unanswered before its connection is given up, in milliseconds: where a network
   * swallows what is sent, as after a failover, nobody tells. Defaults to 60 s.
   */
  readonly silentMs?: number;
  /** Does Postgres itself refuse whatever its connections would write? Defaults to no. */
  readonly readOnly?: boolean;
  /** Told of a connection that failed while idle; the pool replaces it by itself. */
  readonly onError?: (error: Error) => void;
};

/** Opens a pool on `url`. An idle connection that fails never ends the process. */
export function openPool(url: string, options: PoolOptions = {}): Pool {
  const { schema = "loregraph", max = 10, name = "loregraph", onError = () => {} } = options;
  const { silentMs = 60_000, readOnly = false } = options;
  const pool = new pg.Pool({
    connectionString: withSettings(url, schema, readOnly),
    max,
    application_name: name,
    connectionTimeoutMillis: Math.min(10_000, silentMs),
    // Silence of a connection that has nothing to do is no fault: it goes before it could be taken for one.
    idleTimeoutMillis: Math.min(10_000, silentMs * 0.8),
    stream: () => impatientSocket(silentMs),
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000, // where it is 0, Linux first asks after two hours
    pipeline: true, // statements that wait for no answer travel together
  });
  pool.on("error", onError);
  // A connection that breaks while it is lent out fails its query, which is told there; without a listener here it
  // would end the process as well.
  pool.on("connect", (client) => client.on("error", () => {}));
  return pool;
}

/**
 * A socket that breaks where nothing came or went for `ms`. A limit on queries alone would leave behind connections
 * that wait for an answer for ever: those would be full pools, and pools that cannot be ended.
 */
function impatientSocket(ms: number): Socket {
  const socket = new Socket();
  const silent = Object.assign(new Error(`the database said nothing for ${ms} ms`), { code: "ETIMEDOUT" });
  return socket.setTimeout(ms, () => socket.destroy(silent));
}

/** How long a transaction may wait for its own process, in seconds: one that was frozen in it must not hold its locks. */
const longestSilence = 60;

/** The URL whose connections mean `schema` by every unqualified name, beside the options that it has already. */
function withSettings(url: string, schema: string, readOnly: boolean): string {
  const [, before = url, query = ""] = /^([^?]*)\??(.*)$/s.exec(url) ?? [];
  const parameters = new URLSearchParams(query);
  const options = [
    parameters.get("options"),
    `-c search_path=${schema},public`,
    `-c idle_in_transaction_session_timeout=${longestSilence}s`,
    readOnly ? "-c default_transaction_read_only=on" : null,
  ].filter((option) => option !== null);
  parameters.set("options", options.join(" "));
  return `${before}?${parameters.toString().replaceAll("+", "%20")}`;
}

/**
 * Lets a statement be planned once a connection, and read in the order of an index: a plan that was made while a table
 * was small must be as good when it is large, and to scan or to sort few rows is to scan or to sort a million later.
 */
export const planOnce = `
  set local plan_cache_mode         = force_generic_plan;
  set local enable_seqscan          = off;
  set local enable_bitmapscan       = off;
  set local enable_sort             = off;
  set local enable_incremental_sort = off;
  set local jit                     = off`;

/** From how many items on a statement is worth being planned for just these. */
const manyItems = 16;

/**
 * Lets prepared statements about few items be planned for whatever they are given, and so not each time anew; for tables
 * as they are: a transaction finds no plans that are older than some seconds. Many items are worth a plan of their own:
 * where they come, tables grow fast.
 */
export function planFor(items: number): string {
  const mode = items < manyItems ? "force_generic_plan" : "force_custom_plan";
  return `set local plan_cache_mode = ${mode}; set local jit = off`;
}

type Row<Schema extends z.ZodType> = z.infer<Schema>;

/** A statement that each connection prepares once, under a name that no other statement has. */
export type Prepared = { readonly name: string; readonly text: string };

/** The statement, to be prepared under a name that is its own. */
export function prepared(text: string): Prepared {
  return { name: createHash("sha256").update(text).digest("hex").slice(0, 32), text };
}

/** The rows that the statement returned, each checked. */
export async function many<Schema extends z.ZodType>(
  db: Db,
  schema: Schema,
  statement: string | Prepared,
  values: readonly unknown[] = [],
): Promise<readonly Row<Schema>[]> {
  const { rows } = await query(db, statement, values);
  return rows.map((row) => schema.parse(row));
}

/** The one row that the statement returned, or undefined. */
export async function maybeOne<Schema extends z.ZodType>(
  db: Db,
  schema: Schema,
  statement: string | Prepared,
  values: readonly unknown[] = [],
): Promise<Row<Schema> | undefined> {
  const rows = await many(db, schema, statement, values);
  if (rows.length > 1) throw new Error(`expected at most one row, got: ${rows.length}`);
  return rows[0];
}

/** The one row that the statement must return. */
export async function one<Schema extends z.ZodType>(
  db: Db,
  schema: Schema,
  statement: string | Prepared,
  values: readonly unknown[] = [],
): Promise<Row<Schema>> {
  const row = await maybeOne(db, schema, statement, values);
  if (row === undefined) throw new Error("expected one row, got: none");
  return row;
}

/** How many rows the statement touched. */
export async function execute(
  db: Db,
  statement: string | Prepared,
  values: readonly unknown[] = [],
): Promise<number> {
  const { rowCount } = await query(db, statement, values);
  return rowCount ?? 0;
}

async function query(db: Db, statement: string | Prepared, values: readonly unknown[]) {
  if (typeof statement === "string") return await db.query(statement, [...values]);
  return await db.query({ ...statement, values: [...values] });
}

/**
 * Runs `work` in one transaction: all of it commits, or none of it. A broken connection leaves the pool. `begin` may
 * say more than that, such as `begin; set local lock_timeout = '1s'`; it travels with the first statement of `work`,
 * which is refused where something in it fails.
 */
export async function transaction<Result>(
  pool: Pool,
  work: (db: Db) => Promise<Result>,
  begin = "begin",
): Promise<Result> {
  return await onConnection(pool, async (client) => {
    const result = await allOf(beginOn(client, begin), work(client));
    await client.query("commit");
    return result;
  });
}

/**
 * A transaction in one round trip, of the one statement that `work` sends before it waits for anything: `begin` goes
 * before it and the commit behind it. Where it fails, nothing is committed.
 */
export async function transactionOfOne<Result>(
  pool: Pool,
  work: (db: Db) => Promise<Result>,
  begin = "begin",
): Promise<Result> {
  return await onConnection(pool, (client) =>
    allOf(beginOn(client, begin), work(client), client.query("commit")),
  );
}

/** Lends `work` a connection, on which nothing is left open where it fails. */
async function onConnection<Result>(
  pool: Pool,
  work: (client: pg.PoolClient) => Promise<Result>,
): Promise<Result> {
  const client = await pool.connect();
  let broken: Error | undefined;
  try {
    return await work(client);
  } catch (error) {
    broken = await rollback(client);
    throw error;
  } finally {
    client.release(broken);
  }
}

/** How long a connection uses a plan, in milliseconds: in that time, no table outgrows it by much. */
const planMs = 5_000;

/** When the oldest plan of a connection was made, at the earliest. */
const plannedAt = new WeakMap<pg.PoolClient, number>();

/** Where plans may be too old, they are made anew. */
async function beginOn(client: pg.PoolClient, begin: string): Promise<void> {
  const now = performance.now();
  const since = plannedAt.get(client);
  const isTooOld = since !== undefined && now - since >= planMs;
  if (since === undefined || isTooOld) plannedAt.set(client, now);
  await Promise.all([isTooOld && client.query("discard plans"), client.query(begin)]);
}

/** What the second of them resolves to, once all have ended; or throws what failed first in their order. */
async function allOf<Result>(
  before: Promise<unknown>,
  work: Promise<Result>,
  after?: Promise<unknown>,
): Promise<Result> {
  await Promise.allSettled([before, work, after]);
  await before;
  const result = await work;
  await after;
  return result;
}

/**
 * A transaction that others may cross: where it meets one of them (a deadlock, the same new key), it is done again, up
 * to five times. `work` must not keep what it has read.
 */
export async function contendedTransaction<Result>(
  pool: Pool,
  work: (db: Db) => Promise<Result>,
): Promise<Result> {
  for (let tries = 1; ; tries++) {
    try {
      return await transaction(pool, work);
    } catch (error) {
      if (tries === 5 || !metAnother(error)) throw error;
    }
  }
}

function metAnother(error: unknown): boolean {
  return error instanceof Error && "code" in error && ["23505", "40P01"].includes(String(error.code));
}

async function rollback(client: pg.PoolClient): Promise<Error | undefined> {
  try {
    await client.query("rollback");
    return undefined;
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}

/** Is this the database being away, or without room, memory or a disk that works, rather than a statement being wrong? */
export function isConnectionError(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const code = "code" in error ? String(error.code) : "";
  return (
    /^(ECONN|EPIPE|ENOENT|ENOTFOUND|ETIMEDOUT|EHOSTUNREACH|08|57P0|53|58030)/.test(code) ||
    /Connection terminated|timeout exceeded when trying to connect|Client has encountered a connection error/.test(
      error.message,
    ) ||
    (error instanceof AggregateError && error.errors.some(isConnectionError))
  );
}

/**
 * Does work that is all the database's: where that is away, it throws DATABASE_UNAVAILABLE. From elsewhere the same
 * error may mean something else: a graph's own server, a missing file.
 */
export async function orUnavailable<Result>(work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (cause) {
    if (!isConnectionError(cause)) throw cause;
    throw new LoregraphError("DATABASE_UNAVAILABLE", `the database went away: ${messageOf(cause)}`, {
      cause,
    });
  }
}

/** Says that the database cannot be reached, with its address but never its password. */
export function databaseUnavailable(url: string, cause: unknown): LoregraphError {
  return new LoregraphError(
    "DATABASE_UNAVAILABLE",
    `cannot connect to Postgres at ${addressOf(url)}: ${messageOf(cause)}`,
    { cause },
  );
}

/** Host and database; a URL of a Unix socket has no host that `URL` can read. */
function addressOf(url: string): string {
  const { host = "", pathname = "" } = URL.parse(url) ?? {};
  return host ? `${host}${pathname}` : url.replace(/^[^:]*:\/\/([^/@]*@)?/, "").replace(/\?.*$/s, "");
}

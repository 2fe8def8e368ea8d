import { once } from "node:events";
import { type Config, readConfig } from "../config.ts";
import { databaseUnavailable, isConnectionError, openPool, type Pool } from "../db.ts";
import { LoregraphError } from "../errors.ts";
import { connectPostgres } from "../postgres/connect.ts";
import { migrate } from "../postgres/migrate.ts";
import { heedSignals } from "./signals.ts";

/** What a command that needs the database is given; it is closed when the command ends. */
export type Session = {
  readonly config: Config;
  readonly url: string;
  readonly embedded: boolean;
  readonly pool: Pool;
  /** Fires when the process is asked to end. */
  readonly signal: AbortSignal;
};

export type SessionOptions = {
  /** The most connections. Defaults to 4. */
  readonly connections?: number;
  /** How long a connection may leave a statement unanswered, in milliseconds. Defaults to that of pools. */
  readonly silentMs?: (config: Config) => number;
  /** Told what takes a while. */
  readonly onProgress?: (what: string) => void;
};

/** Finds or starts Postgres, brings it to the newest migration, lends it to `work`, and leaves it as it was found. */
export async function withSession<Result>(
  work: (session: Session) => Promise<Result>,
  { connections = 4, silentMs, onProgress = tellOnStderr }: SessionOptions = {},
): Promise<Result> {
  const config = readConfig();
  const { url, embedded, release } = await connectPostgres(config, { onProgress });
  const { signal, forget } = heedSignals();
  try {
    await migrate(url, {
      schema: config.schema,
      onWait: () => onProgress("another process is migrating: waiting for it"),
    });
    const silence = silentMs && { silentMs: silentMs(config) };
    const pool = openPool(url, { schema: config.schema, max: connections, ...silence });
    try {
      return await work({ config, url, embedded, pool, signal });
    } catch (error) {
      throw error instanceof LoregraphError || !isConnectionError(error)
        ? error
        : databaseUnavailable(url, error);
    } finally {
      await pool.end();
    }
  } finally {
    forget();
    await release();
  }
}

/** Resolves when the signal fires. */
export async function aborted(signal: AbortSignal): Promise<void> {
  if (!signal.aborted) await once(signal, "abort");
}

/** What `work` finds, or null where the database is away: for what is only told, so that it ends nothing. */
export async function unlessAway<Result>(work: Promise<Result>): Promise<Result | null> {
  try {
    return await work;
  } catch (error) {
    if (isConnectionError(error)) return null;
    throw error;
  }
}

function tellOnStderr(what: string): void {
  process.stderr.write(`${what}\n`);
}

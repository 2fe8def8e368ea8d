import { type Config, readConfig } from "../config.ts";
import { openPool, type Pool } from "../db.ts";
import { connectPostgres } from "../postgres/connect.ts";
import { migrate } from "../postgres/migrate.ts";

/** What a command that needs the database is given; it is closed when the command ends. */
export type Session = {
  readonly config: Config;
  readonly url: string;
  readonly embedded: boolean;
  readonly pool: Pool;
};

export type SessionOptions = {
  /** The most connections. Defaults to 4. */
  readonly connections?: number;
  /** Told what takes a while. */
  readonly onProgress?: (what: string) => void;
};

/** Finds or starts Postgres, brings it to the newest migration, lends it to `work`, and leaves it as it was found. */
export async function withSession<Result>(
  work: (session: Session) => Promise<Result>,
  { connections = 4, onProgress = tellOnStderr }: SessionOptions = {},
): Promise<Result> {
  const config = readConfig();
  const { url, embedded, release } = await connectPostgres(config, { onProgress });
  try {
    await migrate(url, {
      schema: config.schema,
      onWait: () => onProgress("another process is migrating: waiting for it"),
    });
    const pool = openPool(url, { schema: config.schema, max: connections });
    try {
      return await work({ config, url, embedded, pool });
    } finally {
      await pool.end();
    }
  } finally {
    await release();
  }
}

function tellOnStderr(what: string): void {
  process.stderr.write(`${what}\n`);
}

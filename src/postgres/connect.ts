import pg from "pg";
import { z } from "zod";
import type { Config } from "../config.ts";
import { databaseUnavailable, one } from "../db.ts";
import { LoregraphError } from "../errors.ts";
import { useServer } from "./embedded.ts";
import type { OnProgress } from "./server.ts";

export type Connected = {
  readonly url: string;
  /** Is it the embedded server, rather than that of DATABASE_URL? */
  readonly embedded: boolean;
  /** Ends the use. The last process to do so stops the embedded server. Call it once all pools have ended. */
  release(): Promise<void>;
};

/** Finds the Postgres of DATABASE_URL, or else finds or starts the embedded one. Throws where none answers. */
export async function connectPostgres(
  config: Pick<Config, "databaseUrl" | "home">,
  options: { onProgress?: OnProgress } = {},
): Promise<Connected> {
  if (!config.databaseUrl) return { ...(await useServer(config.home, options.onProgress)), embedded: true };
  checkVersion(await askVersion(config.databaseUrl));
  return { url: config.databaseUrl, embedded: false, release: async () => {} };
}

/** Refuses a Postgres older than 15. `version` is its `server_version_num`, for example 150004. */
export function checkVersion(version: number): void {
  const major = Math.floor(version / 10_000);
  if (major >= 15) return;
  throw new LoregraphError(
    "CONFIG_INVALID",
    `expected DATABASE_URL to be a Postgres from 15 on, got: ${major}`,
  );
}

const Version = z.object({ version: z.coerce.number() });

async function askVersion(url: string): Promise<number> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 10_000 });
  client.on("error", () => {});
  try {
    await client.connect();
    const { version } = await one(client, Version, "select current_setting('server_version_num') as version");
    return version;
  } catch (error) {
    throw databaseUnavailable(url, error);
  } finally {
    await client.end();
  }
}

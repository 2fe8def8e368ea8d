import { existsSync } from "node:fs";
import type { Config } from "../config.ts";
import { isConnectionError, openPool, type Pool } from "../db.ts";
import { placeOf } from "../postgres/place.ts";
import { runningServer } from "../postgres/server.ts";

/**
 * Lends the database of DATABASE_URL, or the embedded one while that runs, to what only asks; undefined where there is
 * none, or none that answers. It starts no server and migrates nothing.
 */
export async function withKnownDatabase<Result>(
  config: Pick<Config, "databaseUrl" | "home" | "schema">,
  work: (pool: Pool | undefined) => Promise<Result>,
): Promise<Result> {
  const url = await urlOf(config);
  if (url === undefined) return await work(undefined);
  const pool = openPool(url, { schema: config.schema, max: 2 });
  try {
    return await work((await answers(pool)) ? pool : undefined);
  } finally {
    await pool.end();
  }
}

async function urlOf({
  databaseUrl,
  home,
}: Pick<Config, "databaseUrl" | "home">): Promise<string | undefined> {
  if (databaseUrl) return databaseUrl;
  return existsSync(home) ? await runningServer(await placeOf(home)) : undefined;
}

async function answers(pool: Pool): Promise<boolean> {
  try {
    await pool.query("select 1");
    return true;
  } catch (error) {
    if (isConnectionError(error)) return false;
    throw error;
  }
}

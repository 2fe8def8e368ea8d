import { existsSync } from "node:fs";
import { getConfig } from "@langchain/langgraph";
import { type Config, readConfig } from "./config.ts";
import { databaseUnavailable, openPool } from "./db.ts";
import { loregraphError } from "./errors.ts";
import { openModels } from "./models/models.ts";
import { Entity, type Reader, type Tools } from "./pipeline.ts";
import { placeOf } from "./postgres/place.ts";
import { runningServer } from "./postgres/server.ts";
import { readerFor } from "./worker/tools.ts";

type Database = Pick<Config, "databaseUrl" | "home" | "schema">;

/**
 * The tools that a graph is lent in LangGraph Studio: the configured models, and a reader of the tenant that the
 * run's input names. It reads the Postgres of DATABASE_URL, or the embedded one while that runs. Studio starts none,
 * and without one a graph finds nothing.
 */
export function studioTools(pipeline: string, config: Config = readConfig()): Tools {
  const { model, embed } = openModels(config.models).lend({ known: async () => new Map() });
  return { model, embed, read: readerOfRun(config, pipeline) };
}

/** Studio compiles a graph once for all runs, so whom to read for is looked up at each call. */
function readerOfRun(database: Database, pipeline: string): Reader {
  return {
    passages: async (names, limit) =>
      (await ask(database, pipeline, (reader) => reader.passages(names, limit))) ?? [],
    mentioned: async (text) => (await ask(database, pipeline, (reader) => reader.mentioned(text))) ?? [],
    previous: () => ask(database, pipeline, (reader) => reader.previous()),
    enrichment: (of) => ask(database, pipeline, (reader) => reader.enrichment(of)),
  };
}

/** Opens a connection for one question: servers come and go while Studio stays, and a stale one is never asked. */
async function ask<Answer>(
  database: Database,
  pipeline: string,
  question: (reader: Reader) => Promise<Answer>,
): Promise<Answer | undefined> {
  const entity = entityOfRun();
  const url = await runningPostgres(database);
  if (url === undefined) return undefined;
  const pool = openPool(url, { schema: database.schema, max: 1, name: "loregraph studio" });
  try {
    return await question(readerFor(pool, entity, pipeline));
  } catch (error) {
    const known = loregraphError(error);
    throw known?.code === "DATABASE_UNAVAILABLE" ? databaseUnavailable(url, known.cause) : error;
  } finally {
    await pool.end();
  }
}

/** The entity that the graph was started with: its fields are channels of the state, whatever the node may see. */
function entityOfRun(): Entity {
  const read: (channels: readonly string[]) => unknown = getConfig().configurable?.__pregel_read;
  return Entity.parse(read(Object.keys(Entity.shape)));
}

async function runningPostgres({ databaseUrl, home }: Database): Promise<string | undefined> {
  if (databaseUrl) return databaseUrl;
  return existsSync(home) ? await runningServer(await placeOf(home)) : undefined;
}

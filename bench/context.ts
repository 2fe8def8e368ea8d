import pino from "pino";
import { CheckpointWriter } from "../checkpoints/writer.ts";
import type { Pool } from "../src/db.ts";
import { type Models, openModels } from "../src/models/models.ts";
import type { Pipeline } from "../src/pipeline.ts";
import type { Context } from "../src/worker/context.ts";

/** Models that nothing is asked of. */
export const noModels = openModels({
  apiKey: undefined,
  baseUrl: undefined,
  chatModel: "none",
  embeddingModel: "none",
  timeoutMs: 1_000,
  prices: undefined,
});

/** What a worker needs that runs these pipelines and logs nothing. */
export function contextOf(
  pool: Pool,
  pipelines: readonly Pipeline[] = [],
  models: Models = noModels,
): Context {
  return {
    pool,
    schema: "loregraph",
    checkpoints: new CheckpointWriter(pool),
    registry: new Map(pipelines.map((pipeline) => [pipeline.name, pipeline])),
    models,
    log: pino({ level: "silent" }),
  };
}

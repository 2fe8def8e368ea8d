import { openModels } from "../models/models.ts";
import { loadRegistry } from "../registry.ts";
import { openLog } from "../telemetry/log.ts";
import type { Context } from "../worker/context.ts";
import { unknownPipeline } from "./program.ts";
import type { Session } from "./session.ts";

/** What a worker of this process needs: the pipelines, the models and a log, beside the session's pool. */
export async function openRuntime(
  { config, pool }: Session,
  logLevel: string = config.logLevel,
): Promise<Context> {
  const registry = await loadRegistry(config.graphs);
  const models = openModels(config.models);
  const log = openLog(logLevel);
  if (models.local) log.info({ embeddings: models.embeddingName }, "models-are-local");
  if (models.unpriced.length > 0) log.warn({ models: models.unpriced }, "models-without-a-price");
  return { pool, schema: config.schema, registry, models, log };
}

/** The named pipelines, or undefined for all. Throws INPUT_INVALID for one that `langgraph.json` does not name. */
export function chosenPipelines(
  { registry }: Pick<Context, "registry">,
  names: readonly string[] | undefined,
): readonly string[] | undefined {
  const unknown = names?.find((name) => !registry.has(name));
  if (unknown === undefined) return names;
  throw unknownPipeline(unknown, registry.keys());
}

import { CheckpointWriter } from "../../checkpoints/writer.ts";
import type { Config, ModelSettings } from "../config.ts";
import type { Pool } from "../db.ts";
import { deliveries } from "../ledger/deliveries.ts";
import { openCache } from "../models/cache.ts";
import type { Layer } from "../models/layers.ts";
import { limits } from "../models/limits/limits.ts";
import { readLimits } from "../models/limits/settings.ts";
import { openModels } from "../models/models.ts";
import { namesInLedger, versionsIn } from "../registry.ts";
import { Runtime, type RuntimeOptions } from "../runtime.ts";
import type { EntitySource } from "../sources/entity-source.ts";
import { openMainService } from "../sources/main-service.ts";
import { type Log, openLog } from "../telemetry/log.ts";
import type { Context } from "../worker/context.ts";
import { unknownPipeline } from "./program.ts";
import { registryInUse } from "./registry-in-use.ts";
import type { Session } from "./session.ts";

/** What a worker of this process needs: the pipelines, the models and a log, beside the session's pool. */
export async function openRuntime(
  { config, pool }: Session,
  logLevel: string = config.logLevel,
): Promise<Context> {
  const registry = await registryInUse({ config, pool });
  const log = openLog(logLevel);
  const models = openModels(config.models, {
    cache: config.modelCache && openCache(pool, config.modelCache),
    limits: sharedLimits(config.models, pool, log),
  });
  if (models.local) log.info({ embeddings: models.embeddingName }, "models-are-local");
  const unpriced = models.unpriced(versionsIn(registry));
  if (unpriced.length > 0) log.warn({ models: unpriced }, "models-without-a-price");
  const checkpoints = new CheckpointWriter(pool);
  return { pool, schema: config.schema, checkpoints, registry, models, log };
}

/** What providers allow, shared by all processes on this database. */
function sharedLimits({ limits: path, timeoutMs }: ModelSettings, db: Pool, log: Log): Layer {
  const onOpened = (model: string, forMs: number) => log.warn({ model, forMs }, "model-given-a-rest");
  return limits({ db, limitsOf: readLimits(path), callMs: timeoutMs, onOpened });
}

/** The work of this process, as the settings say; it is not started yet. */
export function openWork(
  { config, url }: Session,
  context: Context,
  options: Pick<RuntimeOptions, "pipelines" | "concurrency" | "onEnded">,
): Runtime {
  const { leaseMs, drainMs, webhooks } = config;
  const mainService = configuredMainService(config);
  return new Runtime(context, { ...options, url, leaseMs, drainMs, webhooks, mainService });
}

/** The product's own service, where the settings name one. */
export function configuredMainService({ mainService, maxTextChars }: Config): EntitySource | undefined {
  const { url, ...options } = mainService;
  return url === undefined ? undefined : openMainService({ url, ...options, maxTextChars });
}

/**
 * The named pipelines, deliveries among them, or undefined for all. Throws INPUT_INVALID for one that `langgraph.json`
 * does not name.
 */
export function chosenPipelines(
  { registry }: Pick<Context, "registry">,
  names: readonly string[] | undefined,
): readonly string[] | undefined {
  const known = [...namesInLedger(registry), deliveries];
  const unknown = names?.find((name) => !known.includes(name));
  if (unknown === undefined) return names;
  throw unknownPipeline(unknown, known);
}

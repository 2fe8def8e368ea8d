/** The library's only door: what authors of graphs need, and what runs the pipelines inside another program. */

export { type OpenSaver, openCheckpointSaver } from "../checkpoints/saver.ts";
export { type Ask, type AskOptions, asker } from "./ask.ts";
export { type Config, readConfig, Settings } from "./config.ts";
export { splitChunks } from "./content/chunk.ts";
export { findDialogue, type Utterance } from "./content/dialogue.ts";
export { enclosed, oneLine } from "./content/enclosure.ts";
export { type English, loadEnglish } from "./content/english.ts";
export { detectKind } from "./content/kind.ts";
export { detectLanguage } from "./content/language.ts";
export { normalise } from "./content/normalise.ts";
export { countWords, findQuote } from "./content/quote.ts";
export { countTokens } from "./content/tokens.ts";
export { openPool, type Pool, type PoolOptions } from "./db.ts";
export { type ErrorCode, errorCodes, LoregraphError, loregraphError } from "./errors.ts";
export { type Example, type Examples, readExamples } from "./eval/examples.ts";
export { type AppOptions, openApp } from "./http/app.ts";
export { type Listening, listen } from "./http/listen.ts";
export type { App, Services } from "./http/services.ts";
export { type ImportOptions, type ImportReport, importFile } from "./import.ts";
export { acceptEntities, type Intake, removeEntities } from "./intake.ts";
export { type MadeKey, makeKey, type NewKey, revokeKey } from "./keys/keys.ts";
export { type Models, openModels } from "./models/models.ts";
export { openTapedModels, type TapedModels, type TapeOptions } from "./models/taped.ts";
export * from "./pipeline.ts";
export { type Connected, connectPostgres } from "./postgres/connect.ts";
export { type MigrateOptions, migrate } from "./postgres/migrate.ts";
export { findPipeline, LoadedRegistry, loadRegistry, type Registry } from "./registry.ts";
export { type Plan, type PlanContext, planReingest } from "./reingest/plan.ts";
export { type Progress, progressOf } from "./reingest/progress.ts";
export {
  listReingests,
  type Reingest,
  type ReingestKey,
  type ReingestList,
  readReingest,
} from "./reingest/reingest.ts";
export { ReingestRequest } from "./reingest/request.ts";
export { type Started, type StartOptions, startReingest } from "./reingest/start.ts";
export { cancelReingest, type Limits, pauseReingest, resumeReingest } from "./reingest/steer.ts";
export { Runtime, type RuntimeOptions } from "./runtime.ts";
export type { EntitySource } from "./sources/entity-source.ts";
export { type MainServiceOptions, openMainService } from "./sources/main-service.ts";
export { type Enrichment, enrichmentsOf } from "./store/enrichments.ts";
export { type Hit, searchChunks } from "./store/search.ts";
export { type SyncOptions, type SyncReport, type SyncServices, syncTenant } from "./sync.ts";
export { type Log, openLog } from "./telemetry/log.ts";
export { type Trial, type Tried, tryGraph } from "./try/run.ts";
export type { Step } from "./try/steps.ts";
export type { Context } from "./worker/context.ts";
export { Worker, type WorkerOptions } from "./worker/worker.ts";

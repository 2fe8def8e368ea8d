import { z } from "zod";
import { LoregraphError } from "../errors.ts";
import { type Pipeline, SourceType } from "../pipeline.ts";
import type { Registry } from "../registry.ts";
import { nearest } from "../sources/nearest.ts";

/**
 * Which pairs of entity and pipeline: of an older version, pipeline version, model or prompts; dead letters; no output
 * yet; made by other code, whatever its stamp says.
 */
export const Only = z.enum(["stale", "failed", "missing", "recoded"]);
export type Only = z.infer<typeof Only>;

/** Within what both JavaScript and Postgres can read and write. */
const Moment = z.iso
  .datetime({ offset: true })
  .refine(
    (text) => Date.parse(text) >= Date.UTC(1970, 0) && Date.parse(text) < Date.UTC(10_000, 0),
    "expected a moment from 1970 on",
  );

/** What to run again of one tenant, and within which limits. */
export const ReingestRequest = z.strictObject({
  types: z.array(SourceType).min(1).optional().describe("Defaults to all"),
  pipelines: z
    .array(z.string().min(1).max(63))
    .min(1)
    .max(100)
    .optional()
    .describe(
      "Enrichers by name, which run from what base stored; defaults to base and what follows from it",
    ),
  batch_size: z.int().min(1).max(5_000).default(100).describe("Entities a page"),
  dry_run: z.boolean().default(false).describe("Plan only: no model is called and nothing is enqueued"),
  force: z.boolean().default(false).describe("Run even what has not changed"),
  changed_since: Moment.optional().describe("Only entities that changed at or after it"),
  ids: z.array(z.guid().toLowerCase()).min(1).max(10_000).optional().describe("Only these entities"),
  only: Only.optional().describe("recoded: made by other code; those run though nothing else changed"),
  stale_version: z
    .int()
    .positive()
    .max(2_147_483_647)
    .optional()
    .describe("Only stale outputs that this version of the one named pipeline made"),
  priority: z.int().min(-32_768).max(32_767).default(-100).describe("Runs of a higher priority come first"),
  max_cost_usd: z
    .number()
    .min(1e-6)
    .max(999_999_999)
    .optional()
    .describe("US dollars; reaching it pauses the reingest"),
  max_tokens: z.int().positive().optional().describe("In, out and embedded; reaching it pauses the reingest"),
  max_runs_per_minute: z.int().positive().max(2_147_483_647).optional(),
  source: z.enum(["local", "main-service"]).default("local").describe("Who names the entities"),
});
export type ReingestRequest = z.infer<typeof ReingestRequest>;

/** A request as it was understood: with its defaults, each name once and known. It is a request of the same meaning. */
export const Filters = ReingestRequest.required({ types: true, pipelines: true });
export type Filters = z.infer<typeof Filters>;

/** Checks a request against the pipelines that there are. Throws INPUT_INVALID, naming what is wrong. */
export function understood(registry: Registry, request: ReingestRequest): Filters {
  const filters = {
    ...request,
    ...impliedBy(request),
    types: distinct(request.types ?? SourceType.options),
    pipelines: distinct(request.pipelines ?? [ingestionOf(registry).name]),
    ...(request.ids && { ids: distinct(request.ids) }),
  };
  const pipelines = filters.pipelines.map((name) => known(registry, name));
  assertBaseAlone(pipelines);
  assertSomethingFits(pipelines, filters.types);
  assertForceAdds(filters);
  assertOneVersion(filters);
  return filters;
}

/** An output of an older version is a stale one; and for other code alone no graph would run. */
function impliedBy({ only, stale_version }: ReingestRequest): Partial<ReingestRequest> {
  if (only === "recoded") return { force: true };
  return stale_version === undefined || only !== undefined ? {} : { only: "stale" };
}

/** Base ingestion of this registry. */
export function ingestionOf(registry: Registry): Pipeline {
  const base = [...registry.values()].find(({ kind }) => kind === "ingestion");
  if (base) return base;
  throw new LoregraphError("REGISTRY_INVALID", "expected a pipeline made by defineIngestion, got: none");
}

function known(registry: Registry, name: string): Pipeline {
  const pipeline = registry.get(name);
  if (pipeline) return pipeline;
  const names = [...registry.keys()];
  const meant = nearest(name, names);
  throw invalid(
    `expected pipelines to be of ${names.join(", ")}, got: ${JSON.stringify(name)}${meant ? `; did you mean ${meant}?` : ""}`,
  );
}

function assertBaseAlone(pipelines: readonly Pipeline[]): void {
  const base = pipelines.find(({ kind }) => kind === "ingestion");
  const enrichers = pipelines.filter(({ kind }) => kind === "enricher").map(({ name }) => name);
  if (!base || enrichers.length === 0) return;
  throw invalid(
    `expected pipelines to be ${base.name} alone or enrichers alone, got: ${base.name} with ${enrichers.join(", ")}; ` +
      `what follows from ${base.name} runs by itself, and enrichers alone run from what ${base.name} stored`,
  );
}

function assertSomethingFits(pipelines: readonly Pipeline[], types: readonly SourceType[]): void {
  const idle = pipelines.find(({ trigger }) => trigger.types?.every((type) => !types.includes(type)));
  if (!idle) return;
  throw invalid(`${idle.name} runs on ${idle.trigger.types?.join(", ")}; types names none of them`);
}

function assertForceAdds({ force, only }: Filters): void {
  if (!force || only !== "missing") return;
  throw invalid("force adds nothing to only: missing, for what has no output yet runs anyway; leave one out");
}

function assertOneVersion({ stale_version, only, pipelines }: Filters): void {
  if (stale_version === undefined) return;
  if (only !== "stale") throw invalid(`stale_version chooses among stale outputs, got only: ${only}`);
  if (pipelines.length > 1)
    throw invalid(`expected stale_version with one pipeline, got: ${pipelines.join(", ")}`);
}

function distinct<Value extends string>(values: readonly Value[]): Value[] {
  return [...new Set(values)].toSorted();
}

function invalid(message: string): LoregraphError {
  return new LoregraphError("INPUT_INVALID", message);
}

import type { Pool } from "../../db.ts";
import { type Call, callsOf } from "../../ledger/calls.ts";
import { findRun, type WholeRun } from "../../ledger/look.ts";
import type { Models } from "../../models/models.ts";
import type { Entity, Pipeline } from "../../pipeline.ts";
import { pipelineOfRun, type Registry } from "../../registry.ts";
import { readEntity } from "../../store/entities.ts";
import { type Made, whatMade } from "../../store/made.ts";
import { type Steps, stepsOf } from "./nodes.ts";
import { staleBecause } from "./stale.ts";

export type ExplainContext = { readonly pool: Pool; readonly registry: Registry; readonly models: Models };

/** A run with what its graph did and asked models, and the event that caused it. */
export type Link = { readonly run: WholeRun; readonly nodes: Steps; readonly calls: readonly Call[] };

/** How an output came to be: from it back to the change of content that caused it. */
export type Explanation = {
  readonly pipeline: string;
  readonly entity: Entity | null;
  /** What is stored now, where the explained run made it. */
  readonly output: Made | null;
  /** Why it would be made another way now; empty where it is current. */
  readonly stale: readonly string[];
  /** The run that made it, the run whose event caused that, and so on. */
  readonly chain: readonly Link[];
};

/** Explains what a pipeline stored about an entity, or undefined where it stored nothing. */
export async function explainOutput(
  context: ExplainContext,
  entity: Entity,
  pipeline: Pipeline,
): Promise<Explanation | undefined> {
  const made = await whatMade(context.pool, entity, pipeline);
  if (made === undefined) return undefined;
  return {
    pipeline: pipeline.name,
    entity,
    output: made,
    stale: await staleBecause(context.pool, context.models, { entity, pipeline, made }),
    chain: await chainOf(context, entity.tenant_id, made.run_id),
  };
}

/** Explains a run, whatever became of it. */
export async function explainRun(context: ExplainContext, run: WholeRun): Promise<Explanation> {
  const { pool, registry, models } = context;
  const entity = (await readEntity(pool, run)) ?? null;
  const pipeline = pipelineOfRun(registry, run.pipeline);
  const made = pipeline && (await whatMade(pool, run, pipeline));
  const own = made?.run_id === run.id ? made : null;
  return {
    pipeline: run.pipeline,
    entity,
    output: own,
    stale: own && entity && pipeline ? await staleBecause(pool, models, { entity, pipeline, made: own }) : [],
    chain: await chainOf(context, run.tenant_id, run.id),
  };
}

/** A chain is as long as pipelines follow one another; more would be a circle of them. */
const longest = 20;

async function chainOf(
  { pool, registry }: ExplainContext,
  tenant_id: string,
  run_id: string,
): Promise<readonly Link[]> {
  const chain: Link[] = [];
  for (let id: string | null = run_id; id !== null && chain.length < longest; ) {
    const run: WholeRun | undefined = await findRun(pool, tenant_id, id);
    if (run === undefined) break;
    const nodes = await stepsOf(pool, pipelineOfRun(registry, run.pipeline), run.id);
    chain.push({ run, nodes, calls: await callsOf(pool, tenant_id, run.id) });
    id = run.parent_run_id;
  }
  return chain;
}

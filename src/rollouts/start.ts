import { z } from "zod";
import { contendedTransaction, type Db, many, type Pool } from "../db.ts";
import { LoregraphError } from "../errors.ts";
import { enqueueRuns } from "../ledger/enqueue.ts";
import { triedName, triedPriority } from "../ledger/tried.ts";
import { type Pipeline, SourceType } from "../pipeline.ts";
import { findPipeline, type Registry } from "../registry.ts";
import { growRollout, inShareSql, insertRollout, lockOpenRollout, type Rollout } from "../store/rollouts.ts";

export type RolloutContext = { readonly pool: Pool; readonly registry: Registry };

export type RolloutRequest = {
  readonly pipeline: string;
  readonly to: number;
  /** Above 0, up to 1. */
  readonly share: number;
  /** Defaults to all tenants. */
  readonly tenant_id?: string | undefined;
};

export type StartedRollout = { readonly rollout: Rollout; readonly enqueued: number };

/**
 * Tries another version of a pipeline on a share of the entities that it enriched, and of those that come: its runs are
 * enqueued beside those of the version that runs. The same again goes on where it was cut off; a larger share adds to it.
 * Throws INPUT_INVALID, and STATE_TRANSITION where another rollout of the pipeline is open.
 */
export async function startRollout(
  { pool, registry }: RolloutContext,
  request: RolloutRequest,
): Promise<StartedRollout> {
  const [running, tried] = versionsOf(registry, request);
  const rollout = await contendedTransaction(pool, (db) => openRollout(db, request, running));
  return { rollout, enqueued: await enqueueShare(pool, rollout, tried) };
}

function versionsOf(
  registry: Registry,
  { pipeline, to, share }: RolloutRequest,
): readonly [Pipeline, Pipeline] {
  const running = registry.get(pipeline);
  const tried = findPipeline(registry, pipeline, to);
  if (running?.kind !== "enricher")
    throw invalid(`expected an enricher, got: ${pipeline}; only those are tried on a share`);
  if (to <= running.version)
    throw invalid(`expected a version above the one that runs, ${running.version}, got: ${to}`);
  if (tried === undefined)
    throw invalid(
      `version ${to} of ${pipeline} is not loaded: expected langgraph.json to name it "${pipeline}@${to}"`,
    );
  if (!(share > 0 && share <= 1))
    throw invalid(`expected a share above 0 % and up to 100 %, got: ${share * 100} %`);
  return [running, tried];
}

async function openRollout(db: Db, request: RolloutRequest, running: Pipeline): Promise<Rollout> {
  const { pipeline, to, share } = request;
  const tenant_id = request.tenant_id ?? null;
  const open = await lockOpenRollout(db, pipeline);
  if (open === undefined)
    return await insertRollout(db, {
      pipeline,
      from_version: running.version,
      to_version: to,
      tenant_id,
      share,
    });
  assertSame(open, request);
  return share > open.share ? await growRollout(db, open, share) : open;
}

function assertSame(open: Rollout, { to, share, tenant_id }: RolloutRequest): void {
  const { pipeline, to_version, status } = open;
  if (status !== "running" || to_version !== to || open.tenant_id !== (tenant_id ?? null))
    throw new LoregraphError(
      "STATE_TRANSITION",
      `a rollout of ${pipeline} to ${to_version}${open.tenant_id ? ` for tenant ${open.tenant_id}` : ""} is ${status}; promote or drop it first`,
    );
  if (share < open.share)
    throw invalid(`a share only grows: expected ${open.share * 100} % or more, got: ${share * 100} %`);
}

const pageSize = 500;

const Row = z.object({
  tenant_id: z.guid(),
  source_type: SourceType,
  source_id: z.guid(),
  version: z.int(),
});
type Row = z.infer<typeof Row>;

async function enqueueShare(pool: Pool, rollout: Rollout, tried: Pipeline): Promise<number> {
  let enqueued = 0;
  for (let after: Row | undefined, page = pageSize; page === pageSize; ) {
    const rows: readonly Row[] = await many(pool, Row, shareSql, valuesOf(rollout, tried, after));
    await enqueueRuns(
      pool,
      rows.map(({ version, ...key }) => ({
        ...key,
        source_version: version,
        pipeline: triedName(tried),
        priority: triedPriority,
        max_attempts: tried.retries.attempts,
      })),
    );
    [enqueued, after, page] = [enqueued + rows.length, rows.at(-1), rows.length];
  }
  return enqueued;
}

function valuesOf(rollout: Rollout, { trigger }: Pipeline, after: Row | undefined): readonly unknown[] {
  return [
    rollout.pipeline,
    rollout.to_version,
    rollout.tenant_id,
    rollout.share,
    trigger.types ?? null,
    after?.tenant_id ?? null,
    after?.source_type ?? null,
    after?.source_id ?? null,
    pageSize,
  ];
}

// What was tried already, of this version of the entity, is not tried again.
const shareSql = `
  select entity.tenant_id, entity.source_type, entity.source_id, entity.version
  from enrichments stored
  join entities entity using (tenant_id, source_type, source_id)
  where stored.pipeline = $1 and ($3::uuid is null or stored.tenant_id = $3)
    and ($5::text[] is null or stored.source_type = any ($5))
    and ($6::uuid is null or (stored.tenant_id, stored.source_type, stored.source_id) > ($6, $7::text, $8::uuid))
    and ${inShareSql("stored.source_id", "$1::text", "$4")}
    and not exists (
      select from candidate_outputs candidate
      where candidate.tenant_id = stored.tenant_id and candidate.source_type = stored.source_type
        and candidate.source_id = stored.source_id and candidate.pipeline = $1 and candidate.pipeline_version = $2
        and candidate.source_version >= entity.version
    )
  order by stored.tenant_id, stored.source_type, stored.source_id
  limit $9`;

function invalid(message: string): LoregraphError {
  return new LoregraphError("INPUT_INVALID", message);
}

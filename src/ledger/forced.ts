import { z } from "zod";
import { type Db, maybeOne, one } from "../db.ts";
import type { Stamp } from "../pipeline.ts";
import { claimTurn } from "./claim.ts";
import { ClaimedRun, type RunKey } from "./run.ts";

export type ForcedRun = RunKey & {
  readonly source_version: number;
  /** The run that it follows from. */
  readonly parent_run_id: string;
  readonly stamp: Stamp;
  /** Who runs it, shown in `pipeline_runs.worker`. */
  readonly worker: string;
};

/**
 * Takes a claim's turn until the transaction ends: no worker claims meanwhile, so that what runs in this transaction
 * alone meets no run of its key that begins.
 */
export async function takeClaimTurn(db: Db): Promise<void> {
  await db.query(claimTurn);
}

const Id = z.object({ id: z.guid() });

/** The run of this key that is running, or undefined. */
export async function runningRun(db: Db, key: RunKey): Promise<string | undefined> {
  const row = await maybeOne(
    db,
    Id,
    `select id from pipeline_runs
     where tenant_id = $1 and pipeline = $2 and source_type = $3 and source_id = $4 and status = 'running'`,
    [key.tenant_id, key.pipeline, key.source_type, key.source_id],
  );
  return row?.id;
}

/** Makes a run that its maker holds already, as if it had claimed it; the same transaction must end it. */
export async function insertForcedRun(db: Db, run: ForcedRun): Promise<ClaimedRun> {
  const { stamp } = run;
  return await one(db, ClaimedRun, insertSql, [
    run.tenant_id,
    run.source_type,
    run.source_id,
    run.source_version,
    run.pipeline,
    run.worker,
    run.parent_run_id,
    stamp.pipeline_version,
    stamp.model,
    stamp.prompt_hash,
    stamp.input_hash,
  ]);
}

const insertSql = `
  insert into pipeline_runs (tenant_id, source_type, source_id, source_version, pipeline, worker, parent_run_id,
    pipeline_version, model, prompt_hash, input_hash,
    status, force, attempt, max_attempts, lease_token, lease_expires_at, started_at)
  values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11,
    'running', true, 1, 1, gen_random_uuid(), now() + interval '1 minute', now())
  returning tenant_id, id, source_type, source_id, source_version, pipeline, priority, reingest_id, force, attempt,
    max_attempts, lease_token, false as claimed_before, 0 as failures, null::float8 as paced_ms, false as budgeted`;

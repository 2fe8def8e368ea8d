import { z } from "zod";
import { contendedTransaction, many, type Pool } from "../db.ts";
import { wakeWorkers } from "./enqueue.ts";
import { unresolved } from "./read.ts";

const Id = z.object({ id: z.guid() });

export type DeadLetterFilter = {
  readonly tenant_id?: string | undefined;
  readonly pipeline?: string | undefined;
  readonly code?: string | undefined;
  /** Defaults to 1,000. */
  readonly limit?: number | undefined;
};

/**
 * Makes dead letters pending again, with all their attempts; their past errors stay. They leave their reingest. One
 * that a later run has healed stays as it is, and so does one whose key already has a pending run, which does its work.
 *
 * @returns how many will be tried again.
 */
export async function redriveDeadLetters(pool: Pool, filter: DeadLetterFilter = {}): Promise<number> {
  return await contendedTransaction(pool, async (db) => {
    const redriven = await many(db, Id, redriveSql, [
      filter.tenant_id ?? null,
      filter.pipeline ?? null,
      filter.code ?? null,
      filter.limit ?? 1_000,
    ]);
    if (redriven.length > 0) await wakeWorkers(db);
    return redriven.length;
  });
}

/** What a dead letter becomes that is tried again: it has all its attempts, and is of no reingest any more. */
export const pendingAgain =
  "status = 'pending', attempt = 0, run_after = now(), finished_at = null, reingest_id = null";

// Of several dead letters of one key only the newest can become the pending run.
const redriveSql = `
  with dead as (
    select distinct on (tenant_id, pipeline, source_type, source_id) tenant_id, id
    from pipeline_runs run
    where ${unresolved("run")}
      and ($1::uuid is null or tenant_id = $1)
      and ($2::text is null or pipeline = $2)
      and ($3::text is null or error_code = $3)
      and not exists (
        select from pipeline_runs newer
        where newer.status = 'pending' and newer.tenant_id = run.tenant_id and newer.pipeline = run.pipeline
          and newer.source_type = run.source_type and newer.source_id = run.source_id
      )
    order by tenant_id, pipeline, source_type, source_id, id desc
    limit $4
  )
  update pipeline_runs run set ${pendingAgain}
  from dead
  where run.tenant_id = dead.tenant_id and run.id = dead.id and run.status = 'failed'
  returning run.id`;

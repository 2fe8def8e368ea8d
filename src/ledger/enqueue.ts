import { z } from "zod";
import { type Db, many } from "../db.ts";
import type { RunRequest } from "./run.ts";

const Enqueued = z.object({ id: z.guid(), is_new: z.boolean() });
export type Enqueued = z.infer<typeof Enqueued>;

/**
 * Makes the wanted runs pending and wakes the workers when the transaction commits.
 *
 * A run that is already pending for the same key is not doubled: it takes over the newer version, and a newer
 * version starts with all its attempts. While a run of that key runs, the pending one waits for it. A run that both a
 * reingest and somebody else want leaves the reingest, so that holding this back holds back nobody else.
 */
export async function enqueueRuns(db: Db, requests: readonly RunRequest[]): Promise<readonly Enqueued[]> {
  if (requests.length === 0) return [];
  const enqueued = await many(db, Enqueued, enqueueSql, [JSON.stringify(requests)]);
  await wakeWorkers(db);
  return enqueued;
}

/** Tells every listening worker, when the transaction commits, that there may be something to claim. */
export async function wakeWorkers(db: Db): Promise<void> {
  await db.query("select pg_notify(current_schema() || '_runs', '')");
}

// Sorted by key, so that two transactions that enqueue the same runs lock them in the same order.
const enqueueSql = `
  insert into pipeline_runs as run
    (tenant_id, source_type, source_id, pipeline, source_version, priority, max_attempts, cause_event, parent_run_id,
     reingest_id, force)
  select distinct on (tenant_id, pipeline, source_type, source_id)
    tenant_id, source_type, source_id, pipeline, source_version, priority, max_attempts, cause_event, parent_run_id,
    reingest_id, coalesce(force, false)
  from jsonb_to_recordset($1) as wanted (
    tenant_id uuid, source_type text, source_id uuid, pipeline text, source_version integer,
    priority integer, max_attempts integer, cause_event bigint, parent_run_id uuid, reingest_id uuid, force boolean
  )
  order by tenant_id, pipeline, source_type, source_id, source_version desc
  on conflict (tenant_id, pipeline, source_type, source_id) where status = 'pending'
  do update set
    source_version = greatest(run.source_version, excluded.source_version),
    priority       = greatest(run.priority, excluded.priority),
    max_attempts   = excluded.max_attempts,
    cause_event    = excluded.cause_event,
    parent_run_id  = excluded.parent_run_id,
    reingest_id    = case when run.reingest_id is not null then excluded.reingest_id end,
    force          = run.force or excluded.force,
    attempt        = case when excluded.source_version > run.source_version then 0 else run.attempt end,
    run_after      = case when excluded.source_version > run.source_version then now() else run.run_after end
  returning id, xmax = 0 as is_new`;

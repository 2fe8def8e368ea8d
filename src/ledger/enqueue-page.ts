import { z } from "zod";
import { type Db, one } from "../db.ts";
import { coalesced } from "./coalesce.ts";
import type { RunRequest } from "./run.ts";

const Own = z.object({ own: z.coerce.number() });

/**
 * Enqueues a page of runs of one reingest, by the rules of `enqueueRuns`, and wakes the workers. Columns travel as
 * arrays and nothing but a count comes back: twice as fast as rows of JSON.
 *
 * @returns how many of them are the reingest's. The rest was wanted by somebody else already, and stays theirs.
 */
export async function enqueuePage(
  db: Db,
  { tenant_id, id }: { readonly tenant_id: string; readonly id: string },
  runs: readonly RunRequest[],
): Promise<number> {
  if (runs.length === 0) return 0;
  const { own } = await one(db, Own, enqueuePageSql, [
    tenant_id,
    id,
    runs.map((run) => run.source_type),
    runs.map((run) => run.source_id),
    runs.map((run) => run.pipeline),
    runs.map((run) => run.source_version),
    runs.map((run) => run.priority),
    runs.map((run) => run.max_attempts),
    runs.map((run) => run.force ?? false),
    runs.map((run) => run.parent_run_id ?? null),
    runs.map((run) => run.cause_event ?? null),
  ]);
  return own;
}

// Sorted by key, as `enqueueRuns` does, so that two transactions that want the same runs lock them in the same order.
const enqueuePageSql = `
  with wanted as (
    select distinct on (pipeline, source_type, source_id) *
    from unnest($3::text[], $4::uuid[], $5::text[], $6::integer[], $7::integer[], $8::integer[], $9::boolean[],
      $10::uuid[], $11::bigint[])
      as given (source_type, source_id, pipeline, source_version, priority, max_attempts, force, parent_run_id, cause_event)
    order by pipeline, source_type, source_id, source_version desc
  ),
  enqueued as (
    insert into pipeline_runs as run
      (tenant_id, source_type, source_id, pipeline, source_version, priority, max_attempts, force, parent_run_id,
       cause_event, reingest_id)
    select $1, source_type, source_id, pipeline, source_version, priority, max_attempts, force, parent_run_id,
      cause_event, $2
    from wanted
    order by pipeline, source_type, source_id
    ${coalesced}
    returning reingest_id
  ),
  woken as materialized (select pg_notify(current_schema() || '_runs', 'graphs'))
  select count(*) filter (where reingest_id = $2) as own from enqueued, woken`;

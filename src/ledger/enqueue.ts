import { z } from "zod";
import { type Db, many, prepared } from "../db.ts";
import { coalesced } from "./coalesce.ts";
import { isDelivery } from "./deliveries.ts";
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
  return await many(db, Enqueued, enqueueSql, [JSON.stringify(requests), workOf(requests)]);
}

/** What a worker does: it runs graphs, or delivers events to subscribers. */
export type Work = "graphs" | "deliveries";

function workOf(requests: readonly RunRequest[]): Work | "" {
  const deliveries = requests.filter(({ pipeline }) => isDelivery(pipeline)).length;
  if (deliveries === 0) return "graphs";
  return deliveries === requests.length ? "deliveries" : "";
}

/** Tells every listening worker, when the transaction commits, that there may be something to claim. */
export async function wakeWorkers(db: Db): Promise<void> {
  await db.query("select pg_notify(current_schema() || '_runs', '')");
}

// Sorted by key, so that two transactions that enqueue the same runs lock them in the same order. One statement cannot
// touch a row twice: what several want of one run becomes, before it is written, what one after the other would have
// made of it.
const enqueueSql = prepared(`
  with wanted as (
    select tenant_id, source_type, source_id, pipeline, max(source_version) over of_key as source_version,
      max(priority) over of_key as priority, max_attempts, cause_event, parent_run_id,
      case when bool_and(reingest_id is not null) over of_key then reingest_id end as reingest_id,
      bool_or(coalesce(force, false)) over of_key as force,
      nth = max(nth) over of_key as is_last
    from rows from (
      jsonb_to_recordset($1) as (
        tenant_id uuid, source_type text, source_id uuid, pipeline text, source_version integer,
        priority integer, max_attempts integer, cause_event bigint, parent_run_id uuid, reingest_id uuid, force boolean
      )
    ) with ordinality as wanted (
      tenant_id, source_type, source_id, pipeline, source_version, priority, max_attempts, cause_event, parent_run_id,
      reingest_id, force, nth
    )
    window of_key as (partition by tenant_id, pipeline, source_type, source_id)
  ),
  enqueued as (
    insert into pipeline_runs as run
      (tenant_id, source_type, source_id, pipeline, source_version, priority, max_attempts, cause_event, parent_run_id,
       reingest_id, force)
    select tenant_id, source_type, source_id, pipeline, source_version, priority, max_attempts, cause_event, parent_run_id,
      reingest_id, force
    from wanted
    where is_last
    order by tenant_id, pipeline, source_type, source_id
    ${coalesced}
    returning id, xmax = 0 as is_new
  ),
  woken as materialized (select pg_notify(current_schema() || '_runs', $2))
  select enqueued.* from enqueued, woken`);

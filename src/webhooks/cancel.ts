import { type Db, execute } from "../db.ts";
import { deliveryPipeline } from "../store/deliveries.ts";

/** Cancels the deliveries to a webhook that have not begun. Returns how many. */
export async function cancelDeliveries(db: Db, tenant_id: string, webhook_id: string): Promise<number> {
  return await execute(db, cancelSql, [tenant_id, deliveryPipeline(webhook_id)]);
}

/** Tells the workers of the deliveries to a webhook that go on to stop them. */
export async function stopDeliveries(db: Db, tenant_id: string, webhook_id: string): Promise<void> {
  await execute(db, stopSql, [tenant_id, deliveryPipeline(webhook_id)]);
}

// Locked by key first, as `enqueueRuns` does: else two transactions that want the same runs could wait for each other.
const cancelSql = `
  with doomed as materialized (
    select tenant_id, id
    from pipeline_runs
    where tenant_id = $1 and pipeline = $2 and status = 'pending'
    order by source_type, source_id
    for update
  )
  update pipeline_runs run set status = 'cancelled', finished_at = now()
  from doomed
  where run.tenant_id = doomed.tenant_id and run.id = doomed.id`;

const stopSql = `
  with asked as (
    update pipeline_runs set cancel_requested_at = now()
    where tenant_id = $1 and pipeline = $2 and status = 'running'
    returning id
  )
  select pg_notify(current_schema() || '_cancels', id::text) from asked`;

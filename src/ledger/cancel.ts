import { z } from "zod";
import { type Db, execute, many, maybeOne, type Pool, transaction } from "../db.ts";
import { LoregraphError } from "../errors.ts";
import type { SubjectType } from "../pipeline.ts";
import { assertTransition, Status } from "./states.ts";

/**
 * Cancels a run: at once where it is pending or waiting; where it runs, its worker is told and aborts the graph.
 *
 * @returns the status it has now. Throws NOT_FOUND, or STATE_TRANSITION where it has ended.
 */
export async function cancelRun(pool: Pool, tenant_id: string, id: string): Promise<Status> {
  return await transaction(pool, async (db) => {
    const row = await maybeOne(
      db,
      z.object({ status: Status }),
      "select status from pipeline_runs where tenant_id = $1 and id = $2 for update",
      [tenant_id, id],
    );
    if (row === undefined) throw new LoregraphError("NOT_FOUND", `tenant ${tenant_id} has no run ${id}`);
    if (row.status === "running") return await askToCancel(db, tenant_id, id);
    assertTransition(row.status, "cancelled");
    await execute(db, cancelSql, [tenant_id, id]);
    return "cancelled";
  });
}

const Id = z.object({ id: z.guid() });

async function askToCancel(db: Db, tenant_id: string, id: string): Promise<Status> {
  await execute(
    db,
    "update pipeline_runs set cancel_requested_at = now() where tenant_id = $1 and id = $2 and status = 'running'",
    [tenant_id, id],
  );
  await db.query("select pg_notify(current_schema() || '_cancels', $1)", [id]);
  return "running";
}

const cancelSql = `
  update pipeline_runs set status = 'cancelled', finished_at = now(), question = null
  where tenant_id = $1 and id = $2 and status in ('pending', 'waiting')`;

/**
 * Cancels all that is still to be done about entities that are gone, and tells the workers of what runs about them.
 *
 * @returns how many runs were cancelled at once.
 */
export async function cancelRunsOf(
  db: Db,
  tenant_id: string,
  entities: readonly { source_type: SubjectType; source_id: string }[],
): Promise<number> {
  const values = [tenant_id, entities.map((e) => e.source_type), entities.map((e) => e.source_id)];
  for (const { id } of await many(db, Id, runningOfSql, values)) await askToCancel(db, tenant_id, id);
  return await execute(db, cancelOfSql, values);
}

const ofEntities = "(source_type, source_id) in (select * from unnest($2::text[], $3::uuid[]))";

const runningOfSql = `
  select id from pipeline_runs
  where tenant_id = $1 and status = 'running' and ${ofEntities}
  order by id`;

// Locked by key first, as `enqueueRuns` does: else two transactions that want the same runs could wait for each other.
const cancelOfSql = `
  with doomed as materialized (
    select tenant_id, id
    from pipeline_runs
    where tenant_id = $1 and status in ('pending', 'waiting') and ${ofEntities}
    order by tenant_id, pipeline, source_type, source_id
    for update
  )
  update pipeline_runs run set status = 'cancelled', finished_at = now(), question = null
  from doomed
  where run.tenant_id = doomed.tenant_id and run.id = doomed.id`;

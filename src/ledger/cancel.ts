import { z } from "zod";
import { contendedTransaction, type Db, execute, many, maybeOne, type Pool, transaction } from "../db.ts";
import { LoregraphError } from "../errors.ts";
import type { SubjectType } from "../pipeline.ts";
import { assertTransition, Status } from "./states.ts";
import { unasked } from "./waiting.ts";

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
  update pipeline_runs set status = 'cancelled', finished_at = now(), ${unasked}
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

// What a subscriber is owed about an entity it is owed still, that it is gone most of all.
const ofEntities = `pipeline not like 'webhook:%'
    and (source_type, source_id) in (select * from unnest($2::text[], $3::uuid[]))`;

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
  update pipeline_runs run set status = 'cancelled', finished_at = now(), ${unasked}
  from doomed
  where run.tenant_id = doomed.tenant_id and run.id = doomed.id`;

/**
 * Cancels all that is still to be done for a reingest, a thousand runs at a time, and tells the workers of what runs
 * for it. Runs that somebody else wants too have left it, and stay.
 *
 * @returns how many runs were cancelled at once.
 */
export async function cancelRunsOfReingest(
  pool: Pool,
  tenant_id: string,
  reingest_id: string,
): Promise<number> {
  const values = [tenant_id, reingest_id];
  let cancelled = 0;
  for (let page = -1; page !== 0; cancelled += page) {
    page = await contendedTransaction(pool, (db) => execute(db, cancelOfReingestSql, values));
  }
  // Only now: a run that was being claimed meanwhile was waited for above, and runs.
  await transaction(pool, async (db) => {
    for (const { id } of await many(db, Id, runningOfReingestSql, values))
      await askToCancel(db, tenant_id, id);
  });
  return cancelled;
}

const runningOfReingestSql = `
  select id from pipeline_runs
  where tenant_id = $1 and reingest_id = $2 and status = 'running' and cancel_requested_at is null
  order by id`;

const cancelOfReingestSql = cancelPage("tenant_id = $1 and reingest_id = $2", "run.reingest_id = $2");

/**
 * Cancels up to a thousand runs that are open and match. Locked by key, as `enqueueRuns` does. Found by an index, such as
 * `open_runs_by_reingest`, which has no order of keys: the page is sorted after it was found. `still` must hold of a run
 * when it is locked, too.
 */
function cancelPage(which: string, still = "true"): string {
  return `
    with found as materialized (
      select tenant_id, id
      from pipeline_runs
      where ${which} and status in ('pending', 'waiting')
      limit 1000
    ),
    doomed as materialized (
      select run.tenant_id, run.id
      from pipeline_runs run
      join found using (tenant_id, id)
      where ${still} and run.status in ('pending', 'waiting')
      order by run.tenant_id, run.pipeline, run.source_type, run.source_id
      for update of run
    )
    update pipeline_runs run set status = 'cancelled', finished_at = now(), ${unasked}
    from doomed
    where run.tenant_id = doomed.tenant_id and run.id = doomed.id`;
}

/**
 * Cancels up to a thousand runs of a name in the ledger that are still to be run, or wait for a person.
 *
 * @returns how many.
 */
export async function cancelRunsNamed(db: Db, pipeline: string): Promise<number> {
  return await execute(db, cancelNamedSql, [pipeline]);
}

const cancelNamedSql = cancelPage("pipeline = $1");

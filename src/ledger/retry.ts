import { z } from "zod";
import { contendedTransaction, type Db, execute, maybeOne, type Pool } from "../db.ts";
import { LoregraphError } from "../errors.ts";
import { wakeWorkers } from "./enqueue.ts";
import { pendingAgain } from "./redrive.ts";
import { Status } from "./states.ts";

const Found = z.object({ status: Status, pending: z.guid().nullable() });

/**
 * Makes one dead letter pending again, with all its attempts; its past errors stay, and it leaves its reingest.
 *
 * Throws NOT_FOUND, or STATE_TRANSITION where it has not failed, or where another run of its pipeline and entity is
 * pending: that one does its work.
 */
export async function retryRun(pool: Pool, tenant_id: string, id: string): Promise<void> {
  await contendedTransaction(pool, async (db) => {
    assertDead(await maybeOne(db, Found, findSql, [tenant_id, id]), tenant_id, id);
    await makePending(db, tenant_id, id);
    await wakeWorkers(db);
  });
}

function assertDead(run: z.infer<typeof Found> | undefined, tenant_id: string, id: string): void {
  if (run === undefined) throw new LoregraphError("NOT_FOUND", `tenant ${tenant_id} has no run ${id}`);
  if (run.status !== "failed")
    throw refusal(`a run cannot be retried from ${run.status} to pending; only a failed one can`);
  if (run.pending !== null)
    throw refusal(`this run cannot go from failed to pending: run ${run.pending} is, and does its work`);
}

function refusal(message: string): LoregraphError {
  return new LoregraphError("STATE_TRANSITION", message);
}

const findSql = `
  select run.status, (
    select other.id from pipeline_runs other
    where other.status = 'pending' and other.tenant_id = run.tenant_id and other.pipeline = run.pipeline
      and other.source_type = run.source_type and other.source_id = run.source_id
  ) as pending
  from pipeline_runs run
  where run.tenant_id = $1 and run.id = $2
  for update of run`;

async function makePending(db: Db, tenant_id: string, id: string): Promise<void> {
  await execute(
    db,
    `update pipeline_runs set ${pendingAgain}
     where tenant_id = $1 and id = $2 and status = 'failed'`,
    [tenant_id, id],
  );
}

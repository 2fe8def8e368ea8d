import { z } from "zod";
import { type Db, many } from "../db.ts";
import { afterwards, withError } from "./given-up.ts";
import { unleased } from "./lease.ts";
import { Status } from "./states.ts";

const Reaped = z.object({ id: z.guid(), status: Status });
export type Reaped = z.infer<typeof Reaped>;

/**
 * Takes back runs whose lease expired, a hundred at a time; any worker may. A crash cost an attempt only if the
 * graph had started. A run without attempts left is a dead letter; one that was asked to cancel, or whose key has a
 * newer run pending, is cancelled.
 */
export async function reapExpired(db: Db): Promise<readonly Reaped[]> {
  return await many(db, Reaped, reapSql);
}

/** A run that is still running when its attempts are spent is likely what its workers die of. */
const lost = `'its last attempt, ' || run.attempt || ' of ' || run.max_attempts
      || ', ended as its worker fell silent: ' || expired.message`;

const reapSql = `
  with expired as (
    select tenant_id, id,
      'the worker ' || worker || ' was not heard of before its lease expired' as message,
      graph_started_at is not null and attempt >= max_attempts and cancel_requested_at is null as spent
    from pipeline_runs
    where status = 'running' and lease_expires_at < now()
    order by lease_expires_at
    limit 100
    for update skip locked
  )
  update pipeline_runs run set
    ${afterwards("expired.spent")},
    run_after     = now(),
    error_code    = case when expired.spent then 'WORKERS_LOST' else 'LEASE_EXPIRED' end,
    error_message = case when expired.spent then ${lost} else expired.message end,
    errors        = ${withError("'LEASE_EXPIRED'", "expired.message")},
    ${unleased}
  from expired
  where run.tenant_id = expired.tenant_id and run.id = expired.id
  returning run.id, run.status`;

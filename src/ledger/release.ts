import { type Db, execute } from "../db.ts";
import { afterwards } from "./given-up.ts";
import { givenLeases, leaseColumns, lockedLeases, unleased } from "./lease.ts";
import type { Lease } from "./run.ts";

/** Gives runs back untried, as a stopping worker does: it costs them no attempt. Returns how many were still held. */
export async function releaseRuns(db: Db, leases: readonly Lease[]): Promise<number> {
  if (leases.length === 0) return 0;
  return await execute(db, releaseSql, leaseColumns(leases));
}

const releaseSql = `
  with held as materialized (${lockedLeases(givenLeases)})
  update pipeline_runs run set
    ${afterwards("false")},
    attempt = case when run.graph_started_at is null then run.attempt else run.attempt - 1 end,
    ${unleased}
  from held
  where run.tenant_id = held.tenant_id and run.id = held.id`;

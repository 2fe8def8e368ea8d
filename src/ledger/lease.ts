import { z } from "zod";
import { type Db, many } from "../db.ts";
import { LoregraphError } from "../errors.ts";
import type { Lease } from "./run.ts";

const Renewed = z.object({
  lease_token: z.guid(),
  cancel_requested: z.boolean(),
  /** Does it hold for longer now? Not where somebody has just locked its run. */
  is_renewed: z.boolean(),
});
export type Renewed = z.infer<typeof Renewed>;

/**
 * Renews leases, and waits for none: a run that somebody has locked is left for the next time, and keeps none of the
 * others waiting. A lease that is missing from the answer was lost: its attempt must end.
 */
export async function renewLeases(
  db: Db,
  leases: readonly Lease[],
  leaseMs: number,
): Promise<readonly Renewed[]> {
  if (leases.length === 0) return [];
  return await many(db, Renewed, renewSql, [...leaseColumns(leases), leaseMs]);
}

/**
 * Locks the runs of those of the `given` leases that are held, in the order of their keys: two that lock several runs
 * then wait for each other, never both. `wait` may say that it waits for none.
 */
// Each is looked up by its key, in the order of the keys: as a join, it could be read the other way round.
export function lockedLeases(given: string, columns = "given.*", wait: "" | "skip locked" = ""): string {
  return `select ${columns}
    from (select * from ${given} order by tenant_id, id) given
    cross join lateral (${givenRun} for no key update ${wait}) run`;
}

/** The run of a `given` lease, where that is held. */
const givenRun = `
      select * from pipeline_runs run
      where run.tenant_id = given.tenant_id and run.id = given.id and run.lease_token = given.lease_token`;

/** The leases of `leaseColumns`, given as `$1` to `$3`. */
export const givenLeases = "unnest($1::uuid[], $2::uuid[], $3::uuid[]) as given (tenant_id, id, lease_token)";

export function leaseColumns(leases: readonly Lease[]): readonly [string[], string[], string[]] {
  return [leases.map((l) => l.tenant_id), leases.map((l) => l.id), leases.map((l) => l.lease_token)];
}

const renewSql = `
  with held as materialized (${lockedLeases(givenLeases, "given.*", "skip locked")}),
  renewed as (
    update pipeline_runs run set lease_expires_at = now() + $4 * interval '1 millisecond'
    from held
    where run.tenant_id = held.tenant_id and run.id = held.id
    returning run.lease_token, run.cancel_requested_at is not null as cancel_requested
  )
  select lease_token, cancel_requested, true as is_renewed from renewed
  union all
  select run.lease_token, run.cancel_requested_at is not null, false
  from ${givenLeases}
  cross join lateral (${givenRun} offset 0) run
  where run.lease_token not in (select lease_token from held)`;

/** What a run that nobody runs any more no longer has. */
export const unleased =
  "lease_token = null, lease_expires_at = null, worker = null, graph_started_at = null, cancel_requested_at = null";

/** What names an attempt's run, as `$1` to `$3`. */
export const byLease = "tenant_id = $1 and id = $2 and lease_token = $3";

export function leaseValues({ tenant_id, id, lease_token }: Lease): readonly [string, string, string] {
  return [tenant_id, id, lease_token];
}

export function leaseLost({ id }: Lease): LoregraphError {
  return new LoregraphError("LEASE_LOST", `run ${id}: another worker holds its lease now`);
}

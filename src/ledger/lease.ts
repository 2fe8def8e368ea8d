import { z } from "zod";
import { type Db, execute, many } from "../db.ts";
import { LoregraphError } from "../errors.ts";
import type { Lease } from "./run.ts";

const Renewed = z.object({ lease_token: z.guid(), cancel_requested: z.boolean() });
export type Renewed = z.infer<typeof Renewed>;

/** Renews leases. A lease that is missing from the answer was lost: its attempt must end. */
export async function renewLeases(
  db: Db,
  leases: readonly Lease[],
  leaseMs: number,
): Promise<readonly Renewed[]> {
  if (leases.length === 0) return [];
  return await many(db, Renewed, renewSql, [...leaseColumns(leases), leaseMs]);
}

/** The leases given as `$1` to `$3`, and who holds them. */
export const heldLeases = "unnest($1::uuid[], $2::uuid[], $3::uuid[]) as held (tenant_id, id, lease_token)";
export const isHeld =
  "(run.tenant_id, run.id, run.lease_token) = (held.tenant_id, held.id, held.lease_token)";

export function leaseColumns(leases: readonly Lease[]): readonly [string[], string[], string[]] {
  return [leases.map((l) => l.tenant_id), leases.map((l) => l.id), leases.map((l) => l.lease_token)];
}

const renewSql = `
  update pipeline_runs run set lease_expires_at = now() + $4 * interval '1 millisecond'
  from ${heldLeases}
  where ${isHeld}
  returning run.lease_token, run.cancel_requested_at is not null as cancel_requested`;

/** What a run that nobody runs any more no longer has. */
export const unleased =
  "lease_token = null, lease_expires_at = null, worker = null, graph_started_at = null, cancel_requested_at = null";

/** What names an attempt's run, as `$1` to `$3`. */
export const byLease = "tenant_id = $1 and id = $2 and lease_token = $3";

/** Updates the one run that the lease holds. Throws LEASE_LOST, so that the transaction around it stores nothing. */
export async function updateHeld(
  db: Db,
  lease: Lease,
  text: string,
  values: readonly unknown[],
): Promise<void> {
  const updated = await execute(db, text, [...leaseValues(lease), ...values]);
  if (updated === 0) throw leaseLost(lease);
}

export function leaseValues({ tenant_id, id, lease_token }: Lease): readonly [string, string, string] {
  return [tenant_id, id, lease_token];
}

export function leaseLost({ id }: Lease): LoregraphError {
  return new LoregraphError("LEASE_LOST", `run ${id}: another worker holds its lease now`);
}

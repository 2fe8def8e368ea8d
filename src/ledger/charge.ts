import { type Db, execute } from "../db.ts";
import type { Usage } from "../pipeline.ts";
import { byLease, leaseValues } from "./lease.ts";
import type { Lease } from "./run.ts";
import { addUsage } from "./usage.ts";

/** Adds what an attempt used to its run, which goes on to be held. Nothing where the lease was lost. */
export async function chargeRun(db: Db, lease: Lease, usage: Usage): Promise<void> {
  const values = [...leaseValues(lease), JSON.stringify(usage)];
  await execute(db, `update pipeline_runs set ${addUsage("$4")} where ${byLease}`, values);
}

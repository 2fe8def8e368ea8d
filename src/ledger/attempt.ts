import { z } from "zod";
import { type Db, maybeOne } from "../db.ts";
import type { Stamp, Usage } from "../pipeline.ts";
import { endRuns, type RunEnd } from "./end.ts";
import { afterwards, nth, withError } from "./given-up.ts";
import { byLease, leaseLost, leaseValues, unleased } from "./lease.ts";
import type { Lease } from "./run.ts";
import { type RunOutcome, Status } from "./states.ts";
import { addUsage } from "./usage.ts";

export type Success = {
  readonly outcome: RunOutcome;
  /** What made the output. A delivery makes none. */
  readonly stamp?: Stamp;
  readonly usage: Usage;
};

/** Ends a run well. Throws LEASE_LOST. */
export async function succeedRun(db: Db, lease: Lease, success: Success): Promise<void> {
  await endRun(db, { status: "success", lease, ...success });
}

/** Ends a run as cancelled, on demand or because what it was about is gone. Throws LEASE_LOST. */
export async function endCancelled(db: Db, lease: Lease, reason: string, usage: Usage): Promise<void> {
  await endRun(db, { status: "cancelled", lease, reason, usage });
}

async function endRun(db: Db, end: RunEnd): Promise<void> {
  const held = await endRuns(db, [end]);
  if (held.size === 0) throw leaseLost(end.lease);
}

export type Failure = {
  readonly code: string;
  readonly message: string;
  /** How long to wait before the next attempt, in milliseconds; null makes it a dead letter now. */
  readonly retryInMs: number | null;
  /** Does the attempt count? A rate limit's does not. */
  readonly counts: boolean;
  readonly usage: Usage;
};

/**
 * Ends an attempt badly: the run waits for its next one, or becomes a dead letter when its attempts are spent. Where
 * somebody asked to cancel it, or a newer run of the same key is already pending, it is cancelled instead.
 *
 * @returns the run's new status. Throws LEASE_LOST.
 */
export async function failAttempt(db: Db, lease: Lease, failure: Failure): Promise<Status> {
  const { code, message, retryInMs, counts, usage } = failure;
  const values = [code, message.slice(0, 4_000), retryInMs, counts, JSON.stringify(usage)];
  const row = await maybeOne(db, z.object({ status: Status }), failSql, [...leaseValues(lease), ...values]);
  if (row === undefined) throw leaseLost(lease);
  return row.status;
}

const failSql = `
  update pipeline_runs run set
    ${afterwards(`$6::double precision is null or ($7 and ${nth} >= run.max_attempts)`)},
    run_after     = now() + coalesce($6, 0) * interval '1 millisecond',
    attempt       = ${nth} - (not $7)::integer,
    error_code    = $4,
    error_message = $5,
    errors        = ${withError("$4::text", "$5::text")},
    ${unleased}, ${addUsage("$8")}
  where ${byLease}
  returning status`;

import { z } from "zod";
import { type Db, execute, many, maybeOne } from "../db.ts";
import { LoregraphError } from "../errors.ts";
import type { Stamp, Usage } from "../pipeline.ts";
import type { Lease } from "./run.ts";
import { type RunOutcome, Status } from "./states.ts";

/** Notes that the graph starts now: from here on the attempt counts. Throws LEASE_LOST. */
export async function startAttempt(db: Db, lease: Lease, stamp: Stamp): Promise<void> {
  const started = await execute(
    db,
    `update pipeline_runs set
       attempt = attempt + 1, graph_started_at = now(),
       pipeline_version = $4, model = $5, prompt_hash = $6, input_hash = $7
     where tenant_id = $1 and id = $2 and lease_token = $3`,
    [...held(lease), stamp.pipeline_version, stamp.model, stamp.prompt_hash, stamp.input_hash],
  );
  if (started === 0) throw leaseLost(lease);
}

/** Ends a run well. Throws LEASE_LOST, so that the transaction around it stores nothing. */
export async function succeedRun(
  db: Db,
  lease: Lease,
  ending: { outcome: RunOutcome; stamp: Stamp; usage: Usage },
): Promise<void> {
  const { outcome, stamp, usage } = ending;
  const ended = await execute(
    db,
    `update pipeline_runs set
       status = 'success', outcome = $4, finished_at = now(), ${unleased}, ${addUsage(5)},
       pipeline_version = $13, model = $14, prompt_hash = $15, input_hash = $16
     where tenant_id = $1 and id = $2 and lease_token = $3`,
    [
      ...held(lease),
      outcome,
      ...used(usage),
      stamp.pipeline_version,
      stamp.model,
      stamp.prompt_hash,
      stamp.input_hash,
    ],
  );
  if (ended === 0) throw leaseLost(lease);
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

const Ended = z.object({ status: Status });

/**
 * Ends an attempt badly: the run waits for its next one, or becomes a dead letter when its attempts are spent. Where
 * somebody asked to cancel it, or a newer run of the same key is already pending, it is cancelled instead.
 *
 * @returns the run's new status. Throws LEASE_LOST.
 */
export async function failAttempt(db: Db, lease: Lease, failure: Failure): Promise<Status> {
  const { code, message, retryInMs, counts, usage } = failure;
  const row = await maybeOne(db, Ended, failSql, [
    ...held(lease),
    code,
    message.slice(0, 4_000),
    retryInMs,
    counts,
    ...used(usage),
  ]);
  if (row === undefined) throw leaseLost(lease);
  return row.status;
}

/** Gives runs back untried, as a stopping worker does: it costs them no attempt. Returns how many were still held. */
export async function releaseRuns(db: Db, leases: readonly Lease[]): Promise<number> {
  if (leases.length === 0) return 0;
  return await execute(
    db,
    `update pipeline_runs run set
       ${afterwards("false")}, ${unleased},
       attempt = case when run.graph_started_at is null then run.attempt else run.attempt - 1 end
     from ${leaseRows}
     where run.tenant_id = held.tenant_id and run.id = held.id and run.lease_token = held.lease_token`,
    leaseColumns(leases),
  );
}

/**
 * Parks a run whose graph asks a person; it holds no lease while it waits. One that somebody asked to cancel is
 * cancelled instead. Throws LEASE_LOST.
 */
export async function parkRun(db: Db, lease: Lease, question: unknown, usage: Usage): Promise<void> {
  const parked = await execute(
    db,
    `update pipeline_runs set
       status      = case when cancel_requested_at is null then 'waiting' else 'cancelled' end,
       question    = case when cancel_requested_at is null then $4::jsonb end,
       finished_at = case when cancel_requested_at is null then null else now() end,
       ${unleased}, ${addUsage(5)}
     where tenant_id = $1 and id = $2 and lease_token = $3`,
    [...held(lease), JSON.stringify(question ?? null), ...used(usage)],
  );
  if (parked === 0) throw leaseLost(lease);
}

/** Ends a run as cancelled, on demand or because what it was about is gone. Throws LEASE_LOST. */
export async function endCancelled(db: Db, lease: Lease, reason: string, usage: Usage): Promise<void> {
  const ended = await execute(
    db,
    `update pipeline_runs set
       status = 'cancelled', finished_at = now(), error_code = 'CANCELLED', error_message = $4, ${unleased}, ${addUsage(5)}
     where tenant_id = $1 and id = $2 and lease_token = $3`,
    [...held(lease), reason, ...used(usage)],
  );
  if (ended === 0) throw leaseLost(lease);
}

const Renewed = z.object({ lease_token: z.guid(), cancel_requested: z.boolean() });
export type Renewed = z.infer<typeof Renewed>;

/** Renews leases. A lease that is missing from the answer was lost: its attempt must end. */
export async function renewLeases(
  db: Db,
  leases: readonly Lease[],
  leaseMs: number,
): Promise<readonly Renewed[]> {
  if (leases.length === 0) return [];
  return await many(
    db,
    Renewed,
    `update pipeline_runs run set lease_expires_at = now() + $4 * interval '1 millisecond'
     from ${leaseRows}
     where run.tenant_id = held.tenant_id and run.id = held.id and run.lease_token = held.lease_token
     returning run.lease_token, run.cancel_requested_at is not null as cancel_requested`,
    [...leaseColumns(leases), leaseMs],
  );
}

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

const unleased =
  "lease_token = null, lease_expires_at = null, worker = null, graph_started_at = null, cancel_requested_at = null";

const newerPending = `exists (
  select from pipeline_runs newer
  where newer.status = 'pending' and newer.tenant_id = run.tenant_id and newer.pipeline = run.pipeline
    and newer.source_type = run.source_type and newer.source_id = run.source_id
)`;

/** What becomes of a run that is given up: cancelled as asked, a dead letter, superseded by a newer one, or pending. */
function afterwards(spent: string): string {
  const status = `case
    when run.cancel_requested_at is not null then 'cancelled'
    when ${spent} then 'failed'
    when ${newerPending} then 'cancelled'
    else 'pending'
  end`;
  return `status = ${status}, finished_at = case when ${status} <> 'pending' then now() end`;
}

/** The number of the attempt that is going on. It may fail before its graph started and was counted. */
const nth = "(run.attempt + (run.graph_started_at is null)::integer)";

/** The newest twenty errors, this one the last of them. */
function withError(code: string, message: string): string {
  return `(case when jsonb_array_length(run.errors) >= 20 then run.errors - 0 else run.errors end)
    || jsonb_build_object('attempt', ${nth}, 'at', now(), 'code', ${code}, 'message', ${message})`;
}

const usageColumns = [
  "model_calls",
  "embedding_calls",
  "tokens_in",
  "tokens_cached",
  "tokens_out",
  "embedding_tokens",
  "vectors_reused",
  "cost_usd",
] as const satisfies readonly (keyof Usage)[];

/** Attempts that failed were paid for too, so usage adds up over them. */
function addUsage(first: number): string {
  return usageColumns.map((column, index) => `${column} = ${column} + $${first + index}`).join(", ");
}

const failSql = `
  update pipeline_runs run set
    ${afterwards(`$6::double precision is null or ($7 and ${nth} >= run.max_attempts)`)},
    run_after  = now() + coalesce($6, 0) * interval '1 millisecond',
    attempt    = ${nth} - (not $7)::integer,
    error_code = $4, error_message = $5, errors = ${withError("$4::text", "$5::text")},
    ${unleased}, ${addUsage(8)}
  where tenant_id = $1 and id = $2 and lease_token = $3
  returning status`;

const reapSql = `
  with expired as (
    select tenant_id, id, 'the worker ' || worker || ' was not heard of before its lease expired' as message
    from pipeline_runs
    where status = 'running' and lease_expires_at < now()
    order by lease_expires_at
    limit 100
    for update skip locked
  )
  update pipeline_runs run set
    ${afterwards("(run.graph_started_at is not null and run.attempt >= run.max_attempts)")},
    run_after  = now(),
    error_code = 'LEASE_EXPIRED', error_message = expired.message, errors = ${withError("'LEASE_EXPIRED'", "expired.message")},
    ${unleased}
  from expired
  where run.tenant_id = expired.tenant_id and run.id = expired.id
  returning run.id, run.status`;

function used(usage: Usage): readonly number[] {
  return usageColumns.map((column) => usage[column]);
}

function held({ tenant_id, id, lease_token }: Lease): readonly [string, string, string] {
  return [tenant_id, id, lease_token];
}

const leaseRows = "unnest($1::uuid[], $2::uuid[], $3::uuid[]) as held (tenant_id, id, lease_token)";

function leaseColumns(leases: readonly Lease[]): readonly [string[], string[], string[]] {
  return [leases.map((l) => l.tenant_id), leases.map((l) => l.id), leases.map((l) => l.lease_token)];
}

function leaseLost({ id }: Lease): LoregraphError {
  return new LoregraphError("LEASE_LOST", `run ${id}: another worker holds its lease now`);
}

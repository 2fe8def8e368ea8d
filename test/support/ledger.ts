import { randomUUID } from "node:crypto";
import { z } from "zod";
import { type Db, one, type Pool } from "../../src/db.ts";
import { type ClaimOptions, claimRuns } from "../../src/ledger/claim.ts";
import { endRuns } from "../../src/ledger/end.ts";
import { enqueueRuns } from "../../src/ledger/enqueue.ts";
import { leaseLost } from "../../src/ledger/lease.ts";
import { askQuestions, type NewQuestion } from "../../src/ledger/questions.ts";
import { type ClaimedRun, type Lease, Run, type RunRequest } from "../../src/ledger/run.ts";
import { startAttempts } from "../../src/ledger/start.ts";
import { noUsage, type Stamp, type Usage } from "../../src/pipeline.ts";

export const stamp: Stamp = {
  pipeline_version: 1,
  model: "echo",
  prompt_hash: "p",
  input_hash: "i",
  fingerprint: "f",
};

/** A pipeline name that no other test uses, so that no other test's claim takes its runs. */
export function newPipeline(): string {
  return `p-${randomUUID().slice(0, 13)}`;
}

/** A wanted run of a new entity, of a new tenant, unless `given` says otherwise. */
export function request(given: Partial<RunRequest> & Pick<RunRequest, "pipeline">): RunRequest {
  return {
    tenant_id: randomUUID(),
    source_type: "scene",
    source_id: randomUUID(),
    source_version: 1,
    priority: 0,
    max_attempts: 3,
    ...given,
  };
}

/** Claims runs of one pipeline, or of those in `options`, under leases of a minute. */
export async function claim(
  pool: Pool,
  pipeline: string,
  options: Partial<ClaimOptions> = {},
): Promise<readonly ClaimedRun[]> {
  return await claimRuns(pool, {
    worker: "tester",
    pipelines: [pipeline],
    limit: 100,
    leaseMs: 60_000,
    ...options,
  });
}

/** Enqueues a run and claims it. A lease of -1 ms has expired when it is made. */
export async function claimed(
  pool: Pool,
  given: Partial<RunRequest> = {},
  { leaseMs = 60_000 } = {},
): Promise<ClaimedRun> {
  const wanted = request({ pipeline: newPipeline(), ...given });
  await enqueueRuns(pool, [wanted]);
  return only(await claim(pool, wanted.pipeline, { leaseMs }));
}

/** The same, with its graph started: from here on the attempt counts. */
export async function started(
  pool: Pool,
  given: Partial<RunRequest> = {},
  options: { leaseMs?: number } = {},
): Promise<ClaimedRun> {
  const run = await claimed(pool, given, options);
  await startAttempt(pool, run, stamp);
  return run;
}

/** Notes that one graph starts now. Throws LEASE_LOST. */
export async function startAttempt(db: Db, lease: Lease, made: Stamp): Promise<void> {
  const held = await startAttempts(db, [{ lease, stamp: made }]);
  if (held.size === 0) throw leaseLost(lease);
}

/** Parks one run, whose graph asks a person. Throws LEASE_LOST. */
export async function parkRun(db: Db, lease: Lease, question: unknown, usage: Usage): Promise<void> {
  await parkWith(db, lease, [{ id: "q", question }], usage);
}

/** The same with all that it asks. */
export async function parkWith(
  db: Db,
  lease: Lease,
  questions: readonly NewQuestion[],
  usage: Usage = noUsage,
): Promise<void> {
  const held = await endRuns(db, [{ status: "waiting", lease, question: questions[0]?.question, usage }]);
  if (held.size === 0) throw leaseLost(lease);
  await askQuestions(db, [{ run: lease, questions }]);
}

/** The request that asks for the same work as `run`. */
export function again(run: ClaimedRun, given: Partial<RunRequest> = {}): RunRequest {
  const { tenant_id, source_type, source_id, pipeline, source_version, max_attempts } = run;
  return {
    tenant_id,
    source_type,
    source_id,
    pipeline,
    source_version,
    max_attempts,
    priority: 0,
    ...given,
  };
}

/** Notes that a tenant was served just now: those who never were come first. */
export async function noteServed(pool: Pool, tenant_id: string): Promise<void> {
  await pool.query("insert into tenant_turns (tenant_id, claimed_at) values ($1, now())", [tenant_id]);
}

export function only<Value>(values: readonly Value[]): Value {
  const [value] = values;
  if (value === undefined || values.length > 1) throw new Error(`expected one, got: ${values.length}`);
  return value;
}

const FullRun = Run.extend({
  lease_token: z.uuid().nullable(),
  lease_expires_at: z.date().nullable(),
  graph_started_at: z.date().nullable(),
  cancel_requested_at: z.date().nullable(),
  question: z.unknown(),
  waiting_since: z.date().nullable(),
});

/** The run's row, whole. */
export async function runOf(db: Db, { id }: { readonly id: string }) {
  return await one(db, FullRun, "select * from pipeline_runs where id = $1", [id]);
}

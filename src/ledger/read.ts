import { z } from "zod";
import { type Db, many, one } from "../db.ts";
import { isHeld } from "./budgets.ts";
import { Run } from "./run.ts";
import { RunOutcome, Status } from "./states.ts";

const count = z.coerce.number();

const Tally = z.object({
  pipeline: z.string(),
  status: Status,
  outcome: RunOutcome.nullable(),
  runs: count,
  model_calls: count,
  embedding_calls: count,
  tokens_in: count,
  tokens_out: count,
  embedding_tokens: count,
  vectors_reused: count,
  cost_usd: count,
});
export type Tally = z.infer<typeof Tally>;

/** How many runs of each pipeline are in each state, and what they used. `since` counts only runs made after it. */
export async function tallyRuns(
  db: Db,
  tenant_id: string | undefined,
  since?: Date,
): Promise<readonly Tally[]> {
  return await many(
    db,
    Tally,
    `select pipeline, status, outcome, count(*) as runs,
       sum(model_calls) as model_calls, sum(embedding_calls) as embedding_calls, sum(tokens_in) as tokens_in,
       sum(tokens_out) as tokens_out, sum(embedding_tokens) as embedding_tokens,
       sum(vectors_reused) as vectors_reused, sum(cost_usd) as cost_usd
     from pipeline_runs
     where ($1::uuid is null or tenant_id = $1) and ($2::timestamptz is null or created_at >= $2)
     group by pipeline, status, outcome
     order by pipeline, status, outcome`,
    [tenant_id ?? null, since ?? null],
  );
}

export type RunFilter = {
  readonly tenant_id?: string | undefined;
  readonly pipeline?: string | undefined;
  readonly status?: Status | undefined;
  readonly source_id?: string | undefined;
  /** Defaults to 50. */
  readonly limit?: number | undefined;
};

/** The newest runs that match, newest first. */
export async function listRuns(db: Db, filter: RunFilter = {}): Promise<readonly Run[]> {
  return await many(
    db,
    Run,
    `select * from pipeline_runs
     where ($1::uuid is null or tenant_id = $1) and ($2::text is null or pipeline = $2)
       and ($3::text is null or status = $3) and ($4::uuid is null or source_id = $4)
     order by id desc
     limit $5`,
    [
      filter.tenant_id ?? null,
      filter.pipeline ?? null,
      filter.status ?? null,
      filter.source_id ?? null,
      filter.limit ?? 50,
    ],
  );
}

export type OpenFilter = {
  readonly tenant_id?: string | undefined;
  readonly pipelines?: readonly string[] | undefined;
};

/**
 * How many runs are still to be done: pending, due or not, and running, on any machine. What is paused does not count; what
 * waits for a spent budget is counted as held.
 */
export async function countOpenRuns(
  db: Db,
  { tenant_id, pipelines }: OpenFilter = {},
): Promise<{ pending: number; running: number; held: number }> {
  return await one(
    db,
    z.object({ pending: count, running: count, held: count }),
    `select count(*) filter (where status = 'pending' and not held) as pending,
       count(*) filter (where status = 'running') as running, count(*) filter (where held) as held
     from pipeline_runs run cross join lateral (select ${isHeld("run")} as held) budgets
     where status in ('pending', 'running')
       and ($1::uuid is null or tenant_id = $1) and ($2::text[] is null or pipeline like any ($2))
       and not exists (select from tenant_controls c where c.tenant_id = run.tenant_id and c.paused_at is not null)
       and not exists (select from pipeline_controls c where c.pipeline = run.pipeline and c.paused_at is not null)
       and not exists (
         select from reingests r where r.tenant_id = run.tenant_id and r.id = run.reingest_id and r.status <> 'running'
       )`,
    [tenant_id ?? null, pipelines ?? null],
  );
}

/**
 * Is the row of this name a dead letter that is still one? A later success of the same key has healed it: what it
 * wanted is done.
 */
export const unresolved = (run: string) => `${run}.status = 'failed' and not exists (
    select from pipeline_runs healed
    where healed.tenant_id = ${run}.tenant_id and healed.source_type = ${run}.source_type
      and healed.source_id = ${run}.source_id and healed.pipeline = ${run}.pipeline
      and healed.status = 'success' and healed.finished_at > ${run}.finished_at
  )`;

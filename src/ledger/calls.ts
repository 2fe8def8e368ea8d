/** What models were asked: a row a call, and their sums by day, which outlive them. */
import { z } from "zod";
import { type Db, execute, many, type Pool, prepared } from "../db.ts";
import { none } from "./lanes.ts";
import type { ClaimedRun } from "./run.ts";

/** A call as the ledger keeps it: without what was said. */
export type CallFigures = {
  readonly node: string | undefined;
  readonly kind: "chat" | "embedding";
  readonly model: string;
  readonly from: "provider" | "cache" | "replay";
  /** More than 1 where several are added up. */
  readonly calls: number;
  readonly tokens_in: number;
  readonly tokens_cached: number;
  readonly tokens_out: number;
  readonly cost_usd: number;
  readonly saved_usd: number;
  readonly ms: number;
  /** The question's; undefined where several are added up. */
  readonly key: string | undefined;
};

/** Whose call it is: an attempt's, or that of a fork, which is nobody's attempt. */
type Caller = Pick<ClaimedRun, "tenant_id" | "id" | "lease_token" | "pipeline" | "reingest_id" | "attempt">;

/** A call of an attempt; its number counts the attempt's calls from 1. */
export type NotedCall = CallFigures & { readonly run: Caller; readonly ordinal: number };

/**
 * Notes calls, and adds them to the sums of today. They were paid for, so it asks for no lease; a call that was noted
 * before is not noted again.
 */
export async function noteCalls(db: Db, calls: readonly NotedCall[]): Promise<void> {
  if (calls.length > 0) await execute(db, noteSql, [JSON.stringify(calls.map(columnsOf))]);
}

/** The same by itself, while the attempt goes on: nobody waits for the disk, for its end will be committed later. */
export async function noteCallsNow(pool: Pool, calls: readonly NotedCall[]): Promise<void> {
  if (calls.length > 0) await execute(pool, noteNowSql, [JSON.stringify(calls.map(columnsOf))]);
}

function columnsOf({ run, from, node = "", key = "", ...call }: NotedCall) {
  const { tenant_id, id: run_id, lease_token, pipeline, reingest_id, attempt } = run;
  const of = { tenant_id, run_id, lease_token, pipeline, reingest_id, attempt: attempt + 1 };
  return { ...call, ...of, source: from, node: node || null, key: key || null };
}

const figures = "tokens_in, tokens_cached, tokens_out, cost_usd, saved_usd";
const today = "(now() at time zone 'utc')::date";

// What is added up is what went in: a call that comes twice is counted once. In the order of the keys, so that two that
// add to the same rows wait for each other, never both.
const noteWith = (before: string) => `
  with ${before} noted as (
    insert into model_calls (tenant_id, run_id, lease_token, ordinal, attempt, pipeline, reingest_id, node, kind, model,
      source, calls, ${figures}, ms, key)
    select tenant_id, run_id, lease_token, ordinal, attempt, pipeline, reingest_id, node, kind, model,
      source, calls, ${figures}, ms, key
    from ${before && "unhurried,"} jsonb_to_recordset($1) as given (
      tenant_id uuid, run_id uuid, lease_token uuid, ordinal integer, attempt integer, pipeline text, reingest_id uuid,
      node text, kind text, model text, source text, calls integer, tokens_in bigint, tokens_cached bigint,
      tokens_out bigint, cost_usd numeric, saved_usd numeric, ms real, key text
    )
    on conflict do nothing
    returning *
  )
  insert into model_spends as spend
    (tenant_id, day, pipeline, reingest_id, model, source, shard, calls, ${figures})
  select tenant_id, ${today}, pipeline, coalesce(reingest_id, ${none}) as reingest, model, source,
    pg_backend_pid() & 15, sum(calls), sum(tokens_in), sum(tokens_cached), sum(tokens_out), sum(cost_usd), sum(saved_usd)
  from noted
  group by tenant_id, pipeline, reingest, model, source
  order by tenant_id, pipeline, reingest, model, source
  ${added}`;

const added = `on conflict (tenant_id, day, pipeline, reingest_id, model, source, shard) do update set
    calls         = spend.calls + excluded.calls,
    tokens_in     = spend.tokens_in + excluded.tokens_in,
    tokens_cached = spend.tokens_cached + excluded.tokens_cached,
    tokens_out    = spend.tokens_out + excluded.tokens_out,
    cost_usd      = spend.cost_usd + excluded.cost_usd,
    saved_usd     = spend.saved_usd + excluded.saved_usd`;

const noteSql = prepared(noteWith(""));
const noteNowSql = noteWith(
  "unhurried as materialized (select set_config('synchronous_commit', 'off', true)),",
);

const count = z.coerce.number();
const Call = z.object({
  attempt: z.int(),
  ordinal: z.int(),
  node: z.string().nullable(),
  kind: z.enum(["chat", "embedding"]),
  model: z.string(),
  source: z.enum(["provider", "cache", "replay"]),
  calls: z.int(),
  tokens_in: count,
  tokens_cached: count,
  tokens_out: count,
  cost_usd: count,
  saved_usd: count,
  ms: z.number(),
  key: z.string().nullable(),
  at: z.date(),
});
export type Call = z.infer<typeof Call>;

/** The calls of a run in their order, of all its attempts. */
export async function callsOf(db: Db, tenant_id: string, run_id: string): Promise<readonly Call[]> {
  return await many(
    db,
    Call,
    "select * from model_calls where tenant_id = $1 and run_id = $2 order by at, lease_token, ordinal",
    [tenant_id, run_id],
  );
}

/** How long single calls are kept, in days. What they add up to is kept for good. */
const keepCallDays = 30;

/** Deletes single calls that are too old, up to `limit`. @returns how many. */
export async function deleteOldCalls(db: Db, limit = 10_000): Promise<number> {
  return await execute(
    db,
    `delete from model_calls where ctid = any (array(
       select ctid from model_calls where at < now() - $1 * interval '1 day' limit $2
     ))`,
    [keepCallDays, limit],
  );
}

/** Makes one row of the rows by connection that past days still have. */
export async function foldSpends(db: Db): Promise<number> {
  return await execute(db, foldSql);
}

const foldSql = `
  with folded as (
    delete from model_spends where shard > 0 and day < ${today} returning *
  )
  insert into model_spends as spend
    (tenant_id, day, pipeline, reingest_id, model, source, shard, calls, ${figures})
  select tenant_id, day, pipeline, reingest_id, model, source, 0, sum(calls),
    sum(tokens_in), sum(tokens_cached), sum(tokens_out), sum(cost_usd), sum(saved_usd)
  from folded
  group by tenant_id, day, pipeline, reingest_id, model, source
  order by tenant_id, day, pipeline, reingest_id, model, source
  ${added}`;

/** The chat models that answered a run's earlier attempts, as far as those were noted. */
export async function chatModelsOf(
  db: Db,
  { tenant_id, id }: Pick<ClaimedRun, "tenant_id" | "id">,
): Promise<readonly string[]> {
  const rows = await many(
    db,
    z.object({ model: z.string() }),
    "select distinct model from model_calls where tenant_id = $1 and run_id = $2 and kind = 'chat'",
    [tenant_id, id],
  );
  return rows.map(({ model }) => model);
}

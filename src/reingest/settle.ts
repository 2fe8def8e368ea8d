import { z } from "zod";
import { type Db, many, maybeOne, one, type Pool, transaction } from "../db.ts";
import type { LoregraphError } from "../errors.ts";
import { cancelRunsOfReingest } from "../ledger/cancel.ts";
import type { Registry } from "../registry.ts";
import { Reingest, type ReingestKey } from "./reingest.ts";
import { endedIn, sumOf, talliesOf } from "./tallies.ts";
import { tell } from "./tell.ts";

export type SettleContext = { readonly pool: Pool; readonly registry: Registry };

const Due = z.object({ tenant_id: z.guid(), id: z.guid(), what: z.enum(["completed", "over a limit"]) });

/** Completes the reingests of which nothing is left to do, and pauses those that have reached a limit. */
export async function settleReingests({ pool, registry }: SettleContext): Promise<void> {
  for (const { what, ...key } of await many(pool, Due, dueSql)) {
    const settle = what === "completed" ? complete : pauseAtLimit;
    await transaction(pool, async (db) => void (await settle(db, registry, key)));
  }
}

const isDone = `r.produced_at is not null and not exists (
  select from pipeline_runs run
  where run.tenant_id = r.tenant_id and run.reingest_id = r.id and run.status in ('pending', 'running', 'waiting')
)`;

/** Has everything been decided, and has every run of it ended? */
export async function hasNothingLeft(db: Db, { tenant_id, id }: ReingestKey): Promise<boolean> {
  const { done } = await one(
    db,
    z.object({ done: z.boolean() }),
    `select ${isDone} as done from reingests r where tenant_id = $1 and id = $2`,
    [tenant_id, id],
  );
  return done;
}

/** What its runs have used and how many have ended, beside a reingest `r`. */
const sums = `(
  select coalesce(sum(tokens), 0) as tokens, coalesce(sum(cost_usd), 0) as cost_usd,
    coalesce(sum(follow_on), 0) as follow_on, coalesce(sum(done + skipped + failed + cancelled), 0) as ended
  from reingest_tallies tally where tally.tenant_id = r.tenant_id and tally.reingest_id = r.id
)`;

const limitReached = `case
  when used.cost_usd >= r.max_cost_usd then 'max_cost_usd'
  when used.tokens >= r.max_tokens then 'max_tokens'
end`;

const dueSql = `
  select r.tenant_id, r.id, case when ${isDone} then 'completed' else 'over a limit' end as what
  from reingests r
  cross join lateral ${sums} used
  where r.status = 'running' and (${limitReached} is not null or ${isDone})`;

/** The pairs that are settled: what follows from base runs counts as far as it was decided that it would. */
const settledPairs = `least(r.total, r.skipped + used.ended - used.follow_on
  + least(used.follow_on, coalesce((r.cursor ->> 'follows')::bigint, 0)))`;

async function complete(db: Db, registry: Registry, { tenant_id, id }: ReingestKey): Promise<void> {
  const completed = await maybeOne(
    db,
    Reingest,
    `update reingests reingest set status = 'completed', finished_at = now(), total = ${settledPairs}
     from reingests r cross join lateral ${sums} used
     where reingest.tenant_id = $1 and reingest.id = $2 and reingest.status = 'running'
       and (r.tenant_id, r.id) = (reingest.tenant_id, reingest.id) and ${isDone}
     returning reingest.*`,
    [tenant_id, id],
  );
  if (completed === undefined) return;
  const used = sumOf(await talliesOf(db, completed));
  await tell(db, registry, "reingest.completed", completed, {
    total: completed.total,
    done: used.done,
    skipped: completed.skipped + used.skipped,
    failed: used.failed,
    cancelled: used.cancelled,
    runs: endedIn(used),
    tokens: used.tokens,
    cost_usd: used.cost_usd,
  });
}

/** Pauses a running reingest that has reached one of its limits. @returns whether it did. */
async function pauseAtLimit(db: Db, registry: Registry, { tenant_id, id }: ReingestKey): Promise<boolean> {
  const paused = await maybeOne(
    db,
    Reingest,
    `update reingests reingest set status = 'paused', paused_because = ${limitReached}
     from reingests r cross join lateral ${sums} used
     where reingest.tenant_id = $1 and reingest.id = $2 and reingest.status = 'running'
       and (r.tenant_id, r.id) = (reingest.tenant_id, reingest.id) and ${limitReached} is not null
     returning reingest.*`,
    [tenant_id, id],
  );
  if (paused === undefined) return false;
  const { tokens, cost_usd } = sumOf(await talliesOf(db, paused));
  await tell(db, registry, "reingest.paused", paused, { because: paused.paused_because, tokens, cost_usd });
  return true;
}

/** The same, at once, for one that has a limit. */
export async function keepLimits(
  { pool, registry }: SettleContext,
  { tenant_id, id, max_cost_usd, max_tokens }: Reingest,
): Promise<boolean> {
  if (max_cost_usd === null && max_tokens === null) return false;
  return await transaction(pool, (db) => pauseAtLimit(db, registry, { tenant_id, id }));
}

/** Ends a reingest that cannot go on; its runs are then swept away. */
export async function failReingest(
  { pool, registry }: SettleContext,
  { tenant_id, id }: ReingestKey,
  { code, message }: LoregraphError,
): Promise<void> {
  await transaction(pool, async (db) => {
    const failed = await maybeOne(
      db,
      Reingest,
      `update reingests set status = 'failed', finished_at = now(), error_code = $3, error_message = $4
       where tenant_id = $1 and id = $2 and status in ('planned', 'running')
       returning *`,
      [tenant_id, id, code, message.slice(0, 4_000)],
    );
    if (failed) await tell(db, registry, "reingest.failed", failed, { code, message: failed.error_message });
  });
}

const Key = z.object({ tenant_id: z.guid(), id: z.guid() });

/** Cancels what reingests that were cancelled or have failed left behind, and what their last runs still caused. */
export async function sweepEnded(pool: Pool): Promise<void> {
  for (const { tenant_id, id } of await many(pool, Key, leftBehindSql)) {
    await cancelRunsOfReingest(pool, tenant_id, id);
  }
}

// Jumps from reingest to reingest in the index `open_runs_by_reingest`: its cost is that of the reingests with open
// runs, whatever their backlog and however many have ended.
const nextOpen = (after: string) => `
  select tenant_id, reingest_id from pipeline_runs
  where reingest_id is not null and status in ('pending', 'running', 'waiting') ${after}
  order by tenant_id, reingest_id
  limit 1`;

const leftBehindSql = `
  with recursive open as (
    (${nextOpen("")})
    union all
    select next.* from open
    cross join lateral (${nextOpen("and (tenant_id, reingest_id) > (open.tenant_id, open.reingest_id)")}) next
  )
  select r.tenant_id, r.id
  from open
  join reingests r on r.tenant_id = open.tenant_id and r.id = open.reingest_id
  where r.status in ('cancelled', 'failed')`;

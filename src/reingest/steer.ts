import { type Db, execute, one, type Pool, transaction } from "../db.ts";
import { LoregraphError } from "../errors.ts";
import { cancelRunsOfReingest } from "../ledger/cancel.ts";
import { wakeWorkers } from "../ledger/enqueue.ts";
import type { Registry } from "../registry.ts";
import { lockReingest, Reingest, type ReingestKey } from "./reingest.ts";
import type { ReingestRequest } from "./request.ts";
import { hasNothingLeft } from "./settle.ts";
import { assertReingestTransition, illegalTransition } from "./states.ts";
import { sumOf, talliesOf } from "./tallies.ts";
import { tell } from "./tell.ts";

export type SteerContext = { readonly pool: Pool; readonly registry: Registry };

/**
 * Holds a reingest back: from now on none of its runs is claimed; those that run end as ever. Throws NOT_FOUND or
 * STATE_TRANSITION.
 */
export async function pauseReingest({ pool, registry }: SteerContext, key: ReingestKey): Promise<Reingest> {
  return await transaction(pool, async (db) => {
    assertReingestTransition((await lockReingest(db, key)).status, "paused");
    const paused = await update(db, key, "status = 'paused'");
    await tell(db, registry, "reingest.paused", key, { because: null });
    return paused;
  });
}

/** The limits that a reingest may be given anew. */
export type Limits = Partial<Pick<ReingestRequest, "max_cost_usd" | "max_tokens" | "max_runs_per_minute">>;

/**
 * Lets a paused reingest go on where it stands, under other limits where some are given. Throws NOT_FOUND,
 * STATE_TRANSITION, or LIMIT_REACHED where it has used up what it may use.
 */
export async function resumeReingest(
  { pool, registry }: SteerContext,
  key: ReingestKey,
  limits: Limits = {},
): Promise<Reingest> {
  return await transaction(pool, async (db) => {
    const { status } = await lockReingest(db, key);
    if (status !== "paused") throw illegalTransition(status, "running");
    const resumed = await update(db, key, resumeSql, [
      limits.max_cost_usd ?? null,
      limits.max_tokens ?? null,
      limits.max_runs_per_minute ?? null,
    ]);
    if (!(await hasNothingLeft(db, key))) await assertBelowLimits(db, resumed);
    if (limits.max_runs_per_minute !== undefined) await forgetPace(db, key);
    await tell(db, registry, "reingest.resumed", key, limits);
    await wakeWorkers(db);
    return resumed;
  });
}

const resumeSql = `
  status              = 'running',
  paused_because      = null,
  started_at          = coalesce(started_at, now()),
  max_cost_usd        = coalesce($3, max_cost_usd),
  max_tokens          = coalesce($4, max_tokens),
  max_runs_per_minute = coalesce($5, max_runs_per_minute)`;

/** The next run need not wait for what the former pace asked of it. */
async function forgetPace(db: Db, { tenant_id, id }: ReingestKey): Promise<void> {
  await execute(db, "delete from reingest_paces where tenant_id = $1 and reingest_id = $2", [tenant_id, id]);
}

async function assertBelowLimits(db: Db, reingest: Reingest): Promise<void> {
  const used = sumOf(await talliesOf(db, reingest));
  const { max_cost_usd, max_tokens } = reingest;
  if (max_cost_usd !== null && used.cost_usd >= max_cost_usd)
    throw limitReached("max_cost_usd", max_cost_usd, used.cost_usd);
  if (max_tokens !== null && used.tokens >= max_tokens)
    throw limitReached("max_tokens", max_tokens, used.tokens);
}

function limitReached(limit: string, most: number, used: number): LoregraphError {
  return new LoregraphError(
    "LIMIT_REACHED",
    `expected ${limit} to be above the ${used} that were used, got: ${most}`,
  );
}

/**
 * Ends a reingest: what is pending is cancelled and what runs is aborted. Should this process die before that is done,
 * any producer does the rest. Throws NOT_FOUND or STATE_TRANSITION.
 */
export async function cancelReingest({ pool, registry }: SteerContext, key: ReingestKey): Promise<Reingest> {
  const cancelled = await transaction(pool, async (db) => {
    assertReingestTransition((await lockReingest(db, key)).status, "cancelled");
    const ended = await update(db, key, "status = 'cancelled', paused_because = null, finished_at = now()");
    await tell(db, registry, "reingest.cancelled", key, { skipped: ended.skipped, enqueued: ended.enqueued });
    return ended;
  });
  await cancelRunsOfReingest(pool, key.tenant_id, key.id);
  return cancelled;
}

async function update(
  db: Db,
  { tenant_id, id }: ReingestKey,
  sets: string,
  values: readonly unknown[] = [],
): Promise<Reingest> {
  return await one(
    db,
    Reingest,
    `update reingests set ${sets} where tenant_id = $1 and id = $2 returning *`,
    [tenant_id, id, ...values],
  );
}

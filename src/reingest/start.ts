import { z } from "zod";
import { contendedTransaction, type Db, maybeOne } from "../db.ts";
import { LoregraphError } from "../errors.ts";
import { Plan, type PlanContext, planReingest } from "./plan.ts";
import { Reingest } from "./reingest.ts";
import { type Filters, type ReingestRequest, understood } from "./request.ts";
import { tell } from "./tell.ts";

const Counts = Plan.shape.totals;

export type Started = {
  readonly reingest: Reingest;
  /** What was counted when it was made. */
  readonly counts: z.infer<typeof Counts>;
  readonly filters: Filters;
  /** Was it made by this call, and not by an earlier one of the same key? */
  readonly is_new: boolean;
};

export type StartOptions = {
  /** The same key and request again answer the same reingest. */
  readonly key?: string | undefined;
};

/**
 * Plans a reingest and leaves it to the producers; nothing runs yet when it returns. Throws as `planReingest` does,
 * and IDEMPOTENCY_CONFLICT where the key was used for another request.
 */
export async function startReingest(
  context: PlanContext,
  tenant_id: string,
  request: ReingestRequest,
  { key }: StartOptions = {},
): Promise<Started> {
  const { pool, registry } = context;
  const filters = understood(registry, { ...request, dry_run: false });
  const earlier = await startedBefore(pool, tenant_id, key, filters);
  if (earlier) return earlier;
  const { totals } = await planReingest(context, tenant_id, filters);
  return await contendedTransaction(pool, async (db) => {
    const reingest = await insert(db, { tenant_id, filters, key, total: totals.pairs });
    // Somebody was quicker with the same key: what it made is there now.
    if (!reingest) return await atOnce(db, tenant_id, key, filters);
    const { ids, ...named } = filters;
    await tell(db, registry, "reingest.requested", reingest, {
      filters: ids ? { ...named, ids: ids.length } : named,
      totals,
    });
    return { reingest: await withEvent(db, reingest), counts: totals, filters, is_new: true };
  });
}

type New = {
  readonly tenant_id: string;
  readonly filters: Filters;
  readonly key: string | undefined;
  readonly total: number;
};

async function insert(db: Db, { tenant_id, filters, key, total }: New): Promise<Reingest | undefined> {
  return await maybeOne(
    db,
    Reingest,
    `insert into reingests (tenant_id, idempotency_key, request, source, priority, max_cost_usd, max_tokens,
       max_runs_per_minute, total)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
     on conflict (tenant_id, idempotency_key) where idempotency_key is not null do nothing
     returning *`,
    [
      tenant_id,
      key ?? null,
      JSON.stringify(filters),
      filters.source,
      filters.priority,
      filters.max_cost_usd ?? null,
      filters.max_tokens ?? null,
      filters.max_runs_per_minute ?? null,
      total,
    ],
  );
}

// Others may tell of the same tenant at once, so its own event is looked for, from the newest back.
async function withEvent(db: Db, { tenant_id, id }: Reingest): Promise<Reingest> {
  const row = await maybeOne(
    db,
    Reingest,
    `update reingests set event_id = (
       select event.id from events event
       where event.tenant_id = $1 and event.source_type = 'tenant' and event.source_id = $1
         and event.metadata ->> 'reingest_id' = $2::uuid::text
       order by event.id desc limit 1
     )
     where tenant_id = $1 and id = $2
     returning *`,
    [tenant_id, id],
  );
  if (row === undefined) throw new Error(`reingest ${id} is gone before it was told of`);
  return row;
}

const Earlier = z.object({ is_same: z.boolean(), totals: Counts.nullable() });

/** The reingest that this key made before. Throws IDEMPOTENCY_CONFLICT where it was for another request. */
async function startedBefore(
  db: Db,
  tenant_id: string,
  key: string | undefined,
  filters: Filters,
): Promise<Started | undefined> {
  if (key === undefined) return undefined;
  const row = await maybeOne(
    db,
    Reingest.extend(Earlier.shape),
    `select r.*, r.request = $3::jsonb as is_same, event.metadata -> 'totals' as totals
     from reingests r
     left join events event on event.tenant_id = r.tenant_id and event.id = r.event_id
     where r.tenant_id = $1 and r.idempotency_key = $2`,
    [tenant_id, key, JSON.stringify(filters)],
  );
  if (row === undefined) return undefined;
  const { is_same, totals, ...reingest } = row;
  if (!is_same) throw conflict(key);
  return { reingest, counts: totals ?? onlyTotal(reingest), filters: reingest.request, is_new: false };
}

async function atOnce(
  db: Db,
  tenant_id: string,
  key: string | undefined,
  filters: Filters,
): Promise<Started> {
  const started = await startedBefore(db, tenant_id, key, filters);
  if (started) return started;
  throw new Error("a reingest that kept another from being made is gone");
}

/** Its event is forgotten: what is left is how much it was to decide about. */
function onlyTotal({ total, skipped, enqueued }: Reingest): z.infer<typeof Counts> {
  const unknown = { entities: 0, chunks: 0, tokens: 0, cost_usd: 0, seconds: 0 };
  return { ...unknown, pairs: total, skipped, run: enqueued };
}

function conflict(key: string): LoregraphError {
  return new LoregraphError("IDEMPOTENCY_CONFLICT", `the key ${key} was used for another reingest request`);
}

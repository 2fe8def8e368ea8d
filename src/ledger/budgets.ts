/** What a tenant's models may cost a day or a month. Where a budget is spent, the work that it covers waits. */
import { z } from "zod";
import { type Db, many, maybeOne, one } from "../db.ts";
import { LoregraphError } from "../errors.ts";
import { wakeWorkers } from "./enqueue.ts";
import type { ClaimedRun } from "./run.ts";

export const budgetPeriods = ["day", "month"] as const;

const count = z.coerce.number();

/** One budget, and how far it is spent in the period that goes on. Periods are those of UTC. */
export const Budget = z.object({
  tenant_id: z.guid(),
  id: z.guid(),
  /** Null for all of them. */
  pipeline: z.string().nullable(),
  /** Null for whatever is or is not part of one. */
  reingest_id: z.guid().nullable(),
  per: z.enum(budgetPeriods),
  usd: count,
  spent_usd: count,
  period_ends_at: z.date(),
  /** Until when the work that it covers waits; null while it does not. */
  holds_until: z.date().nullable(),
});
export type Budget = z.infer<typeof Budget>;

/** What a budget covers; a tenant has one of a kind. */
export type BudgetOf = {
  readonly tenant_id: string;
  readonly pipeline?: string | undefined;
  readonly reingest_id?: string | undefined;
  readonly per: (typeof budgetPeriods)[number];
};

const utc = "now() at time zone 'utc'";
const begins = `date_trunc(budget.per, ${utc})`;
const ends = `((${begins} + case budget.per when 'day' then interval '1 day' else interval '1 month' end) at time zone 'utc')`;

/** Is this name in the ledger, which may be that of a version that is only tried, one of the budget's pipeline? */
const isOf = (name: string) =>
  `(budget.pipeline is null or budget.pipeline in (${name}, split_part(${name}, '@', 1)))`;

/** What the calls that a budget covers have cost in the period that goes on. */
const spent = `(
    select coalesce(sum(cost_usd), 0) from model_spends spend
    where spend.tenant_id = budget.tenant_id and spend.day >= ${begins}::date
      and ${isOf("spend.pipeline")}
      and (budget.reingest_id is null or spend.reingest_id = budget.reingest_id)
  )`;

const shown = `budget.*, ${spent} as spent_usd, ${ends} as period_ends_at,
    case when budget.spent_until > now() then budget.spent_until end as holds_until`;

/** Does a budget cover the runs of `row`, by its columns tenant_id, pipeline and `reingest`? */
const covers = (row: string, reingest: string) => `
    budget.tenant_id = ${row}.tenant_id
    and ${isOf(`${row}.pipeline`)}
    and (budget.reingest_id is null or budget.reingest_id = ${row}.${reingest})`;

/**
 * Of claims: a spent budget of the lane, null where there is none. Deliveries cost nothing and wait for none. A look-up
 * by key, with `limit`, so that it becomes no join.
 */
export const spentBudgetOf = (lane: string, now: string) => `(
      select budget.id from budgets budget
      where ${lane}.pipeline not like 'webhook:%' and budget.spent_until > ${now} and ${covers(lane, "reingest")}
      limit 1
    )`;

/** Of one run: does it wait for this budget, which is spent? Deliveries wait for none. */
const holds = (run: string) => `
    ${run}.status = 'pending' and ${run}.pipeline not like 'webhook:%' and budget.spent_until > now()
    and ${covers(run, "reingest_id")}`;

/** Of one run: does it wait for a spent budget? */
export const isHeld = (run: string) => `exists (select from budgets budget where ${holds(run)})`;

/** Of claims: is there a budget that covers the run? */
export const isBudgeted = (run: string) =>
  `exists (select from budgets budget where ${covers(run, "reingest_id")})`;

/** Of one run: the spent budget that it waits for, as JSON; null where there is none. */
export const heldBy = (run: string) => `(
      select to_jsonb(held) from (
        select budget.id, budget.pipeline, budget.reingest_id, budget.per, budget.usd, budget.spent_until
        from budgets budget
        where ${holds(run)}
        order by budget.spent_until desc
        limit 1
      ) held
    )`;

/** Sets a budget, or changes it, and tells the workers: where it is not spent any more, its work goes on at once. */
export async function setBudget(
  db: Db,
  { tenant_id, pipeline, reingest_id, per }: BudgetOf,
  usd: number,
): Promise<Budget> {
  const { id } = await one(
    db,
    z.object({ id: z.guid() }),
    `insert into budgets (tenant_id, pipeline, reingest_id, per, usd) values ($1, $2, $3, $4, $5)
     on conflict on constraint one_budget_of_a_kind do update set usd = excluded.usd, spent_until = null
     returning id`,
    [tenant_id, pipeline ?? null, reingest_id ?? null, per, usd],
  );
  await markSpent(db, tenant_id);
  await wakeWorkers(db);
  return await one(db, Budget, `select ${shown} from budgets budget where tenant_id = $1 and id = $2`, [
    tenant_id,
    id,
  ]);
}

/** Takes a budget away; its work goes on at once. Throws NOT_FOUND. */
export async function dropBudget(db: Db, tenant_id: string, id: string): Promise<Budget> {
  const dropped = await maybeOne(
    db,
    Budget,
    `delete from budgets budget where tenant_id = $1 and id = $2 returning ${shown}`,
    [tenant_id, id],
  );
  if (!dropped) throw new LoregraphError("NOT_FOUND", `tenant ${tenant_id} has no budget ${id}`);
  await wakeWorkers(db);
  return dropped;
}

/** The budgets of a tenant, or of all; those that hold work first. */
export async function listBudgets(db: Db, tenant_id?: string): Promise<readonly Budget[]> {
  return await many(
    db,
    Budget,
    `select ${shown} from budgets budget where ($1::uuid is null or tenant_id = $1)
     order by holds_until, tenant_id, id`,
    [tenant_id ?? null],
  );
}

/** The budgets that hold work back now, of a tenant or of all, without a look at what was spent. */
export async function listSpentBudgets(db: Db, tenant_id?: string) {
  return await many(
    db,
    Held,
    `select tenant_id, id, pipeline, reingest_id, per, usd, spent_until from budgets
     where spent_until > now() and ($1::uuid is null or tenant_id = $1)
     order by spent_until, tenant_id, id`,
    [tenant_id ?? null],
  );
}

const Held = Budget.pick({
  tenant_id: true,
  id: true,
  pipeline: true,
  reingest_id: true,
  per: true,
  usd: true,
}).extend({
  spent_until: z.date(),
});
export type HeldBudget = z.infer<typeof Held>;

/** The budget that holds one run. */
export const HeldBy = Held.omit({ tenant_id: true }).extend({ spent_until: z.coerce.date() });

// A budget that is raised meanwhile is read again when its row is free, and is not marked.
const markSql = (which: string) => `
  with used as materialized (
    select budget.tenant_id, budget.id, ${spent} as usd, ${ends} as until
    from budgets budget where ${which}
  ),
  marked as (
    update budgets budget set spent_until = used.until
    from used
    where budget.tenant_id = used.tenant_id and budget.id = used.id and used.usd >= budget.usd
      and budget.spent_until is distinct from used.until
  )
  select budget.tenant_id, budget.id, budget.pipeline, budget.reingest_id, budget.per, budget.usd,
    used.until as spent_until
  from used join budgets budget using (tenant_id, id)
  where used.usd >= budget.usd
  order by used.until desc
  limit 1`;

async function markSpent(db: Db, tenant_id: string): Promise<void> {
  await many(db, Held, markSql("budget.tenant_id = $1"), [tenant_id]);
}

const ofRun = markSql(`budget.tenant_id = $1 and ${isOf("$2::text")}
      and (budget.reingest_id is null or budget.reingest_id = $3)`);

/**
 * Throws BUDGET_SPENT where a budget that covers the run has nothing left, and notes it, so that no more runs of it are
 * claimed until its period ends. What is in flight is not known yet: asked before each call, a budget is overdrawn by no
 * more than that.
 */
export async function assertBudget(
  db: Db,
  { tenant_id, pipeline, reingest_id }: Pick<ClaimedRun, "tenant_id" | "pipeline" | "reingest_id">,
): Promise<void> {
  const [held] = await many(db, Held, { name: "budget", text: ofRun }, [tenant_id, pipeline, reingest_id]);
  if (held === undefined) return;
  // The lane holds the run, not its own date: so it goes on as soon as the budget is raised.
  throw new LoregraphError("BUDGET_SPENT", budgetText(held), { after: new Date() });
}

/** What is spent, of what, and until when work waits for it. */
export function budgetText({ pipeline, reingest_id, per, usd, spent_until }: z.infer<typeof HeldBy>): string {
  const of = [pipeline && `pipeline ${pipeline}`, reingest_id && `reingest ${reingest_id}`].filter(Boolean);
  const covered = of.length > 0 ? of.join(" in ") : "the tenant";
  return `the budget of ${covered}, $${usd} a ${per}, is spent until ${spent_until.toISOString()}`;
}

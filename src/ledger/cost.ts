import { z } from "zod";
import { type Db, many } from "../db.ts";

/** What a bill is broken down by. */
export const costParts = ["pipeline", "model", "day"] as const;
export type CostPart = (typeof costParts)[number];

/** A day of UTC, as `2026-11-28`. Postgres knows no year 0. */
export const Day = z.iso.date().refine((day) => !day.startsWith("0000"), "expected a year from 1 on");

/** Both days are included. */
export type CostRange = { readonly since?: string | undefined; readonly until?: string | undefined };

const count = z.coerce.number();

const figures = {
  /** Answers of model servers, whether or not they could be used. */
  calls: count,
  tokens_in: count,
  tokens_cached: count,
  tokens_out: count,
  cost_usd: count,
  /** Answers that came from the cache or a tape, and what they would have cost. */
  saved_calls: count,
  saved_usd: count,
};

export const Cost = z.object({
  pipeline: z.string().nullable(),
  model: z.string().nullable(),
  day: z.string().nullable(),
  ...figures,
});
export type Cost = z.infer<typeof Cost>;

export const Total = z.object(figures);

/**
 * What a tenant's models cost, the dearest first, one item for each pipeline, model or day, or for each combination of
 * those that are named. Attempts that failed are in it: they were paid for. What is not broken down by is null.
 */
export async function costsOf(
  db: Db,
  tenant_id: string,
  { since, until }: CostRange,
  by: readonly CostPart[],
): Promise<readonly Cost[]> {
  const part = (name: CostPart, column: string) => (by.includes(name) ? column : "null::text");
  return await many(
    db,
    Cost,
    `select ${part("pipeline", "pipeline")} as pipeline, ${part("model", "model")} as model,
       ${part("day", "day::text")} as day, ${sums}
     from model_spends
     where tenant_id = $1 and ($2::date is null or day >= $2) and ($3::date is null or day <= $3)
     group by 1, 2, 3
     order by ${by.includes("day") ? "day, " : ""}cost_usd desc, pipeline, model
     limit ${mostCosts}`,
    [tenant_id, since ?? null, until ?? null],
  );
}

/** The most items of a bill: three years by day. */
const mostCosts = 1_000;

const paid = "filter (where source = 'provider')";
const sums = `
  coalesce(sum(calls) ${paid}, 0) as calls,
  coalesce(sum(tokens_in) ${paid}, 0) as tokens_in,
  coalesce(sum(tokens_cached) ${paid}, 0) as tokens_cached,
  coalesce(sum(tokens_out) ${paid}, 0) as tokens_out,
  coalesce(sum(cost_usd), 0) as cost_usd,
  coalesce(sum(calls) filter (where source <> 'provider'), 0) as saved_calls,
  coalesce(sum(saved_usd), 0) as saved_usd`;

/** The same, added up. */
export async function totalCostOf(db: Db, tenant_id: string, { since, until }: CostRange) {
  const [total] = await many(
    db,
    Total,
    `select ${sums} from model_spends
     where tenant_id = $1 and ($2::date is null or day >= $2) and ($3::date is null or day <= $3)`,
    [tenant_id, since ?? null, until ?? null],
  );
  return Total.parse(total);
}

import { z } from "zod";
import { type Db, many } from "../db.ts";
import { TenantControls } from "./controls.ts";

/** Pending runs are counted up to this many, so that no backlog makes a list slow. */
export const mostPending = 1_000;

export const TenantSummary = TenantControls.extend({
  running: z.coerce.number(),
  /** At most `mostPending`. */
  pending: z.coerce.number(),
});
export type TenantSummary = z.infer<typeof TenantSummary>;

/** The tenants that have content or runs, or were ever steered, by id: up to `limit` after the tenant `after`. */
export async function listTenants(
  db: Db,
  { limit, after }: { limit: number; after?: string | undefined },
): Promise<readonly TenantSummary[]> {
  return await many(db, TenantSummary, listSql, [after ?? null, limit, mostPending]);
}

/** The first tenant after another, in any of the tables that know of tenants: one look into an index of each. */
const first = (after: string) => {
  const look = (table: string) => `(
    select tenant_id from ${table} where ${after} order by tenant_id limit 1
  )`;
  return `least(${look("entities")}, ${look("pipeline_runs")}, ${look("tenant_controls")})`;
};

// Jumps from tenant to tenant, so the cost is that of the tenants, not of what they have.
const listSql = `
  with recursive tenant as (
    select ${first("$1::uuid is null or tenant_id > $1")} as tenant_id, 1 as nth
    union all
    select ${first("tenant_id > tenant.tenant_id")}, nth + 1
    from tenant
    where tenant_id is not null and nth < $2
  )
  select tenant.tenant_id, paused_at, coalesce(weight, 1) as weight, max_running, coalesce(flags, '{}') as flags,
    (
      select count(*) from pipeline_runs run
      where run.status = 'running' and run.tenant_id = tenant.tenant_id
    ) as running,
    (
      select count(*) from (
        select from pipeline_runs run
        where run.status = 'pending' and run.tenant_id = tenant.tenant_id
        limit $3
        ) capped
    ) as pending
  from tenant
  left join tenant_controls control using (tenant_id)
  where tenant_id is not null
  order by tenant_id`;

/**
 * The tenants that have rows in a table, `$1` alone where it is given, each found by one jump in its primary key. Every
 * key begins with the tenant, so what is asked of all of them is asked of one after the other: else it would read all rows.
 */
export const tenantsOf = (table: string) => `
  recursive tenant as (
    (select tenant_id from ${table} where $1::uuid is null or tenant_id = $1 order by tenant_id limit 1)
    union all
    select (
      select next.tenant_id from ${table} next
      where next.tenant_id > tenant.tenant_id and $1::uuid is null
      order by next.tenant_id limit 1
    )
    from tenant where tenant.tenant_id is not null
  )`;

/** What holds work back, or shares it out: one row for a tenant, one for a pipeline, whatever their backlogs. */
import { z } from "zod";
import { type Db, many, one } from "../db.ts";
import { wakeWorkers } from "./enqueue.ts";

export const TenantControls = z.object({
  tenant_id: z.guid(),
  /** Since when none of its runs is claimed; null while they are. */
  paused_at: z.date().nullable(),
  /** Its share of the workers beside that of others, who have 1. */
  weight: z.number(),
  /** The most of its runs that run at once; null for no limit. */
  max_running: z.int().nullable(),
  flags: z.record(z.string(), z.boolean().catch(false)),
});
export type TenantControls = z.infer<typeof TenantControls>;

export const PipelineControls = z.object({
  pipeline: z.string(),
  paused_at: z.date().nullable(),
  max_running: z.int().nullable(),
});
export type PipelineControls = z.infer<typeof PipelineControls>;

/** How a tenant is steered; one that nobody has steered yet as all are at first. */
export async function readTenantControls(db: Db, tenant_id: string): Promise<TenantControls> {
  return await one(
    db,
    TenantControls,
    `select asked.tenant_id, paused_at, coalesce(weight, 1) as weight, max_running, coalesce(flags, '{}') as flags
     from (select $1::uuid as tenant_id) asked
     left join tenant_controls using (tenant_id)`,
    [tenant_id],
  );
}

/** Lets none of the tenant's runs be claimed from now on; those that run go on. A second time changes nothing. */
export async function pauseTenant(db: Db, tenant_id: string): Promise<TenantControls> {
  return await one(
    db,
    TenantControls,
    `insert into tenant_controls as control (tenant_id, paused_at) values ($1, now())
     on conflict (tenant_id) do update set paused_at = coalesce(control.paused_at, now())
     returning *`,
    [tenant_id],
  );
}

/** Lets the tenant's runs be claimed again, and tells the workers. */
export async function resumeTenant(db: Db, tenant_id: string): Promise<TenantControls> {
  await many(
    db,
    TenantControls,
    "update tenant_controls set paused_at = null where tenant_id = $1 returning *",
    [tenant_id],
  );
  await wakeWorkers(db);
  return await readTenantControls(db, tenant_id);
}

/** What is to be other than it is; what is left out stays. */
export type TenantChange = {
  readonly weight?: number | undefined;
  readonly max_running?: number | null | undefined;
  /** Each flag that is named is set; null takes it away. */
  readonly flags?: Readonly<Record<string, boolean | null>> | undefined;
};

/** Changes a tenant's share, cap and flags, in one step, and tells the workers, who may now have room for it. */
export async function changeTenant(
  db: Db,
  tenant_id: string,
  { weight, max_running, flags = {} }: TenantChange,
): Promise<TenantControls> {
  const changed = await one(db, TenantControls, changeTenantSql, [
    tenant_id,
    weight ?? null,
    max_running !== undefined,
    max_running ?? null,
    JSON.stringify(flags),
  ]);
  await wakeWorkers(db);
  return changed;
}

const changeTenantSql = `
  insert into tenant_controls as control (tenant_id, weight, max_running, flags)
  values ($1, coalesce($2::real, 1), $4, jsonb_strip_nulls($5::jsonb))
  on conflict (tenant_id) do update set
    weight      = coalesce($2::real, control.weight),
    max_running = case when $3 then $4 else control.max_running end,
    flags       = jsonb_strip_nulls(control.flags || $5::jsonb)
  returning *`;

/** The pipelines that somebody has steered, by name. */
export async function readPipelineControls(db: Db): Promise<ReadonlyMap<string, PipelineControls>> {
  const rows = await many(db, PipelineControls, "select * from pipeline_controls");
  return new Map(rows.map((row) => [row.pipeline, row]));
}

/** Lets none of the pipeline's runs be claimed from now on; those that run go on. A second time changes nothing. */
export async function pausePipeline(db: Db, pipeline: string): Promise<PipelineControls> {
  return await one(
    db,
    PipelineControls,
    `insert into pipeline_controls as control (pipeline, paused_at) values ($1, now())
     on conflict (pipeline) do update set paused_at = coalesce(control.paused_at, now())
     returning *`,
    [pipeline],
  );
}

/** Lets the pipeline's runs be claimed again, and tells the workers. */
export async function resumePipeline(db: Db, pipeline: string): Promise<PipelineControls> {
  const resumed = await one(
    db,
    PipelineControls,
    `insert into pipeline_controls (pipeline) values ($1)
     on conflict (pipeline) do update set paused_at = null
     returning *`,
    [pipeline],
  );
  await wakeWorkers(db);
  return resumed;
}

/** Bounds how many of the pipeline's runs run at once, over all tenants and workers; null takes the bound away. */
export async function capPipeline(
  db: Db,
  pipeline: string,
  max_running: number | null,
): Promise<PipelineControls> {
  const capped = await one(
    db,
    PipelineControls,
    `insert into pipeline_controls (pipeline, max_running) values ($1, $2)
     on conflict (pipeline) do update set max_running = excluded.max_running
     returning *`,
    [pipeline, max_running],
  );
  await wakeWorkers(db);
  return capped;
}

const Paused = z.object({
  kind: z.enum(["tenant", "pipeline", "reingest"]),
  /** The tenant's or the reingest's id, or the pipeline's name. */
  name: z.string(),
  since: z.date().nullable(),
  because: z.string().nullable(),
});
export type Paused = z.infer<typeof Paused>;

/** All that is paused, of one tenant where one is named: pipelines are paused for all of them. */
export async function listPaused(db: Db, tenant_id?: string): Promise<readonly Paused[]> {
  return await many(
    db,
    Paused,
    `select 'tenant' as kind, tenant_id::text as name, paused_at as since, null as because
     from tenant_controls where paused_at is not null and ($1::uuid is null or tenant_id = $1)
     union all
     select 'pipeline', pipeline, paused_at, null from pipeline_controls where paused_at is not null
     union all
     select 'reingest', id::text, null, paused_because
     from reingests where status = 'paused' and ($1::uuid is null or tenant_id = $1)
     order by kind desc, since, name`,
    [tenant_id ?? null],
  );
}

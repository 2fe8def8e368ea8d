import { z } from "zod";
import { type Db, many, maybeOne } from "../db.ts";
import { Run } from "./run.ts";
import type { Status } from "./states.ts";
import { tenantsOf } from "./tenants.ts";

/** A run as the thread that its graph ran in: what there is to know of it without its checkpoints. */
export const RunThread = Run.pick({
  tenant_id: true,
  id: true,
  source_type: true,
  source_id: true,
  source_version: true,
  pipeline: true,
  status: true,
  outcome: true,
  pipeline_version: true,
  model: true,
  error_code: true,
  error_message: true,
  created_at: true,
  started_at: true,
  finished_at: true,
}).extend({
  prompt_hash: z.string().nullable(),
  input_hash: z.string().nullable(),
  /** Of the code of its graph; null where nobody noted it. */
  fingerprint: z.string().nullable(),
});
export type RunThread = z.infer<typeof RunThread>;

/** A graph's run by its id alone, of the tenant where one is named; undefined where there is none. */
export async function findRunThread(
  db: Db,
  id: string,
  tenant_id?: string | undefined,
): Promise<RunThread | undefined> {
  return await maybeOne(db, RunThread, findSql, [tenant_id ?? null, id]);
}

export type ThreadFilter = {
  readonly tenant_id?: string | undefined;
  readonly pipeline?: string | undefined;
  readonly source_id?: string | undefined;
  readonly statuses?: readonly Status[] | undefined;
  readonly ids?: readonly string[] | undefined;
  readonly limit: number;
};

/** The newest runs of graphs that match, newest first. */
export async function listRunThreads(db: Db, filter: ThreadFilter): Promise<readonly RunThread[]> {
  const { tenant_id, pipeline, source_id, statuses, ids, limit } = filter;
  const values = [tenant_id, pipeline, source_id, statuses, ids].map((value) => value ?? null);
  return await many(db, RunThread, listSql, [...values, limit]);
}

const findSql = `
  with ${tenantsOf("pipeline_runs")}
  select run.* from tenant
  join pipeline_runs run on run.tenant_id = tenant.tenant_id and run.id = $2
  where run.pipeline not like 'webhook:%'
  limit 1`;

const listSql = `
  with ${tenantsOf("pipeline_runs")}
  select newest.* from tenant
  cross join lateral (
    select * from pipeline_runs run
    where run.tenant_id = tenant.tenant_id and run.pipeline not like 'webhook:%'
      and ($2::text is null or run.pipeline = $2) and ($3::uuid is null or run.source_id = $3)
      and ($4::text[] is null or run.status = any ($4)) and ($5::uuid[] is null or run.id = any ($5))
    order by run.id desc
    limit $6
  ) newest
  order by newest.id desc
  limit $6`;

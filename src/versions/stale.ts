import { z } from "zod";
import { type Db, many } from "../db.ts";

const Stamped = z.object({
  pipeline: z.string(),
  pipeline_version: z.int(),
  model: z.string(),
  prompt_hash: z.string(),
  /** Null for what older programs made. */
  fingerprint: z.string().nullable(),
  outputs: z.coerce.number(),
  newest: z.date(),
});
export type Stamped = z.infer<typeof Stamped>;

/** How many outputs bear each stamp, whatever they were made of, by pipeline, the highest version first. */
export async function countStamps(
  db: Db,
  base: string,
  {
    tenant_id,
    pipeline,
  }: { readonly tenant_id?: string | undefined; readonly pipeline?: string | undefined },
): Promise<readonly Stamped[]> {
  return await many(db, Stamped, countSql, [base, tenant_id ?? null, pipeline ?? null]);
}

const stamp = "pipeline_version, model, prompt_hash, fingerprint";

const countSql = `
  with output as (
    select $1::text as pipeline, ${stamp}, stored_at from documents
    where ($2::uuid is null or tenant_id = $2) and ($3::text is null or $3 = $1)
    union all
    select pipeline, ${stamp}, stored_at from enrichments
    where ($2::uuid is null or tenant_id = $2) and ($3::text is null or pipeline = $3)
  )
  select pipeline, ${stamp}, count(*) as outputs, max(stored_at) as newest
  from output
  group by pipeline, ${stamp}
  order by pipeline, pipeline_version desc, newest desc`;

import { z } from "zod";
import { type Db, maybeOne } from "../db.ts";
import type { Pipeline } from "../pipeline.ts";
import type { EntityKey } from "./entities.ts";
import { Deciding } from "./stamps.ts";

const Made = z.object({
  ...Deciding.shape,
  run_id: z.guid(),
  source_version: z.int(),
  outcome: z.string(),
  /** Of base ingestion, what the document is like; its chunks stand by themselves. */
  output: z.unknown(),
  stored_at: z.date(),
});
export type Made = z.infer<typeof Made>;

/** What a pipeline stored last about an entity, and what made it, or undefined. */
export async function whatMade(
  db: Db,
  { tenant_id, source_type, source_id }: EntityKey,
  { name, kind }: Pick<Pipeline, "name" | "kind">,
): Promise<Made | undefined> {
  const key = [tenant_id, source_type, source_id];
  return kind === "ingestion"
    ? await maybeOne(db, Made, documentSql, key)
    : await maybeOne(db, Made, enrichmentSql, [...key, name]);
}

const stamp = "run_id, source_version, pipeline_version, model, prompt_hash, input_hash, stored_at";

const documentSql = `
  select ${stamp}, 'completed' as outcome, jsonb_build_object('kind', kind, 'language', language) as output
  from documents where tenant_id = $1 and source_type = $2 and source_id = $3`;

const enrichmentSql = `
  select ${stamp}, outcome, output
  from enrichments where tenant_id = $1 and source_type = $2 and source_id = $3 and pipeline = $4`;

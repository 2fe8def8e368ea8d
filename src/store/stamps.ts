import { z } from "zod";
import { type Db, maybeOne } from "../db.ts";
import type { Pipeline, Stamp } from "../pipeline.ts";
import type { EntityKey } from "./entities.ts";

const Row = z.object({
  pipeline_version: z.int(),
  model: z.string(),
  prompt_hash: z.string(),
  input_hash: z.string(),
});

/** The stamp of what this pipeline stored last for this entity, or undefined where it stored nothing. */
export async function storedStamp(db: Db, key: EntityKey, pipeline: Pipeline): Promise<Stamp | undefined> {
  const { tenant_id, source_type, source_id } = key;
  const values = [tenant_id, source_type, source_id];
  return pipeline.kind === "ingestion"
    ? await maybeOne(db, Row, documentStampSql, values)
    : await maybeOne(db, Row, enrichmentStampSql, [...values, pipeline.name]);
}

const documentStampSql = `
  select pipeline_version, model, prompt_hash, input_hash
  from documents where tenant_id = $1 and source_type = $2 and source_id = $3`;

const enrichmentStampSql = `
  select pipeline_version, model, prompt_hash, input_hash
  from enrichments where tenant_id = $1 and source_type = $2 and source_id = $3 and pipeline = $4`;

export function sameStamp(a: Stamp, b: Stamp): boolean {
  return stampKey(a) === stampKey(b);
}

/** A stamp as one line. */
export function stampKey({ pipeline_version, model, prompt_hash, input_hash }: Stamp): string {
  return [pipeline_version, model, prompt_hash, input_hash].join(" ");
}

import { z } from "zod";
import { type Db, execute, many, maybeOne, prepared } from "../db.ts";
import type { Stamp } from "../pipeline.ts";
import type { EntityKey } from "./entities.ts";

/** What an enricher learned of an entity. */
export type NewEnrichment = {
  readonly key: EntityKey;
  readonly pipeline: string;
  readonly source_version: number;
  readonly outcome: "completed" | "skipped";
  readonly stamp: Stamp;
  readonly run_id: string;
  readonly output: unknown;
};

/** Stores what enrichers learned, in place of what they stored before. Each pair of pipeline and entity once. */
export async function storeEnrichments(db: Db, enrichments: readonly NewEnrichment[]): Promise<void> {
  if (enrichments.length === 0) return;
  const rows = enrichments.map(({ key: { tenant_id, source_type, source_id }, stamp, ...enrichment }) => ({
    ...{ tenant_id, source_type, source_id },
    ...stamp,
    ...enrichment,
  }));
  await execute(db, storeSql, [JSON.stringify(rows)]);
}

const storeSql = prepared(`
  insert into enrichments (tenant_id, source_type, source_id, pipeline, source_version, outcome, output,
    pipeline_version, model, prompt_hash, input_hash, run_id, fingerprint)
  select tenant_id, source_type, source_id, pipeline, source_version, outcome, output,
    pipeline_version, model, prompt_hash, input_hash, run_id, nullif(fingerprint, '')
  from jsonb_to_recordset($1) as given (
    tenant_id uuid, source_type text, source_id uuid, pipeline text, source_version integer, outcome text, output jsonb,
    pipeline_version integer, model text, prompt_hash text, input_hash text, run_id uuid,
    fingerprint text
  )
  on conflict (tenant_id, source_type, source_id, pipeline) do update set
    source_version = excluded.source_version, outcome = excluded.outcome, output = excluded.output,
    pipeline_version = excluded.pipeline_version, model = excluded.model, prompt_hash = excluded.prompt_hash,
    input_hash = excluded.input_hash, run_id = excluded.run_id, fingerprint = excluded.fingerprint,
    stored_at = now()`);

export type StillTrue = {
  readonly key: EntityKey;
  readonly pipeline: string;
  readonly source_version: number;
};

/** Says that enrichments still hold for a newer version of their entities, in which nothing that they read has changed. */
export async function confirmEnrichments(db: Db, confirmed: readonly StillTrue[]): Promise<void> {
  if (confirmed.length === 0) return;
  await execute(db, confirmSql, [
    confirmed.map(({ key }) => key.tenant_id),
    confirmed.map(({ key }) => key.source_type),
    confirmed.map(({ key }) => key.source_id),
    confirmed.map(({ pipeline }) => pipeline),
    confirmed.map(({ source_version }) => source_version),
  ]);
}

const confirmSql = prepared(`
  update enrichments set source_version = given.source_version
  from unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::integer[])
    as given (tenant_id, source_type, source_id, pipeline, source_version)
  where enrichments.tenant_id = given.tenant_id and enrichments.source_type = given.source_type
    and enrichments.source_id = given.source_id and enrichments.pipeline = given.pipeline
    and enrichments.source_version < given.source_version`);

export const Enrichment = z.object({
  tenant_id: z.guid(),
  source_type: z.string(),
  source_id: z.guid(),
  pipeline: z.string(),
  source_version: z.int(),
  outcome: z.enum(["completed", "skipped"]),
  output: z.record(z.string(), z.unknown()),
  pipeline_version: z.int(),
  model: z.string(),
  stored_at: z.date(),
});
export type Enrichment = z.infer<typeof Enrichment>;

/** What every enricher stored about an entity. */
export async function enrichmentsOf(db: Db, key: EntityKey): Promise<readonly Enrichment[]> {
  return await many(
    db,
    Enrichment,
    `select * from enrichments where tenant_id = $1 and source_type = $2 and source_id = $3 order by pipeline`,
    [key.tenant_id, key.source_type, key.source_id],
  );
}

/** What one pipeline stored, over a tenant. */
export async function enrichmentsBy(
  db: Db,
  tenant_id: string,
  pipeline: string,
): Promise<readonly Enrichment[]> {
  return await many(
    db,
    Enrichment,
    `select * from enrichments where tenant_id = $1 and pipeline = $2 order by source_type, source_id`,
    [tenant_id, pipeline],
  );
}

const Output = z.object({ output: z.unknown() });

/** The output that this pipeline stored last for this entity, or undefined. */
export async function previousOutput(db: Db, key: EntityKey, pipeline: string): Promise<unknown> {
  const row = await maybeOne(
    db,
    Output,
    `select output from enrichments where tenant_id = $1 and source_type = $2 and source_id = $3 and pipeline = $4`,
    [key.tenant_id, key.source_type, key.source_id, pipeline],
  );
  return row?.output;
}

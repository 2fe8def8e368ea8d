import { z } from "zod";
import { type Db, execute, many, maybeOne } from "../db.ts";
import type { Stamp } from "../pipeline.ts";
import type { EntityKey } from "./entities.ts";

/** Stores what an enricher learned of an entity, in place of what it stored before. */
export async function storeEnrichment(
  db: Db,
  enrichment: {
    readonly key: EntityKey;
    readonly pipeline: string;
    readonly source_version: number;
    readonly outcome: "completed" | "skipped";
    readonly stamp: Stamp;
    readonly run_id: string;
    readonly output: unknown;
  },
): Promise<void> {
  const { key, pipeline, source_version, outcome, stamp, run_id, output } = enrichment;
  await execute(
    db,
    `insert into enrichments (tenant_id, source_type, source_id, pipeline, source_version, outcome, output,
       pipeline_version, model, prompt_hash, input_hash, run_id)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
     on conflict (tenant_id, source_type, source_id, pipeline) do update set
       source_version = excluded.source_version, outcome = excluded.outcome, output = excluded.output,
       pipeline_version = excluded.pipeline_version, model = excluded.model, prompt_hash = excluded.prompt_hash,
       input_hash = excluded.input_hash, run_id = excluded.run_id, stored_at = now()`,
    [
      key.tenant_id,
      key.source_type,
      key.source_id,
      pipeline,
      source_version,
      outcome,
      JSON.stringify(output),
      stamp.pipeline_version,
      stamp.model,
      stamp.prompt_hash,
      stamp.input_hash,
      run_id,
    ],
  );
}

/** Says that an enrichment still holds for a newer version of its entity, in which nothing that it reads has changed. */
export async function confirmEnrichment(
  db: Db,
  key: EntityKey,
  pipeline: string,
  source_version: number,
): Promise<void> {
  await execute(
    db,
    `update enrichments set source_version = $5
     where tenant_id = $1 and source_type = $2 and source_id = $3 and pipeline = $4 and source_version < $5`,
    [key.tenant_id, key.source_type, key.source_id, pipeline, source_version],
  );
}

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

import { z } from "zod";
import { type Db, many, planFor, prepared } from "../db.ts";
import { Entity, type Pipeline } from "../pipeline.ts";
import type { EntityKey } from "./entities.ts";
import { Deciding } from "./stamps.ts";

/** What a run is about, as it is now. */
export type Subject = {
  /** Undefined where it is gone. */
  readonly entity: Entity | undefined;
  /** The stamp of what the pipeline stored last for it; undefined where it stored nothing. */
  readonly stored: Deciding | undefined;
};

/** An entity that a pipeline is about to be run on. */
export type Asked = { readonly key: EntityKey; readonly pipeline: Pick<Pipeline, "name" | "kind"> };

/** How a transaction of nothing else begins. */
export const beginRead = (asked: number) => `begin read only; ${planFor(asked)}`;

/** Reads what several runs are about, in their order. */
export async function readSubjects(db: Db, asked: readonly Asked[]): Promise<readonly Subject[]> {
  return await many(db, Row, subjectsSql, [
    asked.map(({ key }) => key.tenant_id),
    asked.map(({ key }) => key.source_type),
    asked.map(({ key }) => key.source_id),
    asked.map(({ pipeline }) => (pipeline.kind === "ingestion" ? null : pipeline.name)),
  ]);
}

const Row = z
  .object({ is_there: z.boolean(), is_stored: z.boolean() })
  .loose()
  .transform(
    ({ is_there, is_stored, ...row }): Subject => ({
      entity: is_there ? Entity.parse(row) : undefined,
      stored: is_stored ? Deciding.parse(row) : undefined,
    }),
  );

const stored = (column: keyof Deciding) => `coalesce(document.${column}, enrichment.${column}) as ${column}`;

const subjectsSql = prepared(`
  select entity.tenant_id, entity.source_type, entity.source_id, entity.version, entity.title, entity.text, entity.metadata,
    entity.tenant_id is not null as is_there,
    coalesce(document.tenant_id, enrichment.tenant_id) is not null as is_stored,
    ${stored("pipeline_version")}, ${stored("model")}, ${stored("prompt_hash")}, ${stored("input_hash")}
  from unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[])
    with ordinality as asked (tenant_id, source_type, source_id, pipeline, nth)
  left join entities entity on entity.tenant_id = asked.tenant_id
    and entity.source_type = asked.source_type and entity.source_id = asked.source_id
  left join documents document on asked.pipeline is null and document.tenant_id = asked.tenant_id
    and document.source_type = asked.source_type and document.source_id = asked.source_id
  left join enrichments enrichment on enrichment.tenant_id = asked.tenant_id
    and enrichment.source_type = asked.source_type and enrichment.source_id = asked.source_id
    and enrichment.pipeline = asked.pipeline
  order by asked.nth`);

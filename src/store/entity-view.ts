import { z } from "zod";
import type { Db } from "../db.ts";
import { Chunk, Entity, TextKind } from "../pipeline.ts";
import type { EntityKey } from "./entities.ts";

const Moment = z.iso.datetime();

/** What made an output, of which version of its entity, and how long ago. */
const Made = z.object({
  source_version: z.int(),
  stale: z.boolean().describe("Was it made of an older version of the entity?"),
  pipeline_version: z.int(),
  model: z.string(),
  stored_at: Moment,
  age_seconds: z.int(),
});

/** An entity with all that was made of it, as of one moment, and what is still to be made. */
export const EntityView = Entity.extend({
  title: z.string(),
  text: z.string(),
  metadata: z.record(z.string(), z.unknown()),
  source: z.string(),
  created_at: Moment,
  changed_at: Moment,
  document: Made.extend({
    kind: TextKind,
    language: z.string().nullable(),
    chunks: z.int().describe("How many it was cut into"),
  }).nullable(),
  enrichments: z.array(
    Made.extend({
      pipeline: z.string(),
      outcome: z.enum(["completed", "skipped"]),
      output: z.record(z.string(), z.unknown()),
    }),
  ),
  open_runs: z.array(
    z.object({
      id: z.guid(),
      pipeline: z.string(),
      status: z.enum(["pending", "running", "waiting"]),
      source_version: z.int(),
      attempt: z.int(),
    }),
  ),
  chunks: z.array(Chunk.extend({ ordinal: z.int() })).optional(),
});
export type EntityView = z.infer<typeof EntityView>;

export type ViewedChunks = { readonly first: number; readonly limit: number };

/**
 * Reads an entity with all that was made of it, with some of its chunks where they are asked for.
 *
 * The statement is prepared, once a connection: planning it takes 0.7 ms, and doing it 0.2 ms.
 */
export async function viewEntity(
  db: Db,
  { tenant_id, source_type, source_id }: EntityKey,
  chunks?: ViewedChunks,
): Promise<EntityView | undefined> {
  const key = [tenant_id, source_type, source_id];
  const { rows } = await db.query(
    chunks === undefined
      ? { name: "view-entity", text: viewSql(), values: key }
      : {
          name: "view-entity-and-chunks",
          text: viewSql(chunksSql),
          values: [...key, chunks.first, chunks.limit],
        },
  );
  return EntityView.optional().parse(rows[0]);
}

const ofEntity = "tenant_id = $1 and source_type = $2 and source_id = $3";

const moment = (column: string) => `to_char(${column} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`;

const made = (row: string) => `
  ${row}.source_version, ${row}.source_version < entity.version as stale, ${row}.pipeline_version, ${row}.model,
  ${moment(`${row}.stored_at`)} as stored_at,
  greatest(0, floor(extract(epoch from now() - ${row}.stored_at)))::integer as age_seconds`;

const rows = (of: string) => `coalesce((select jsonb_agg(of) from (${of}) of), '[]')`;

// One statement: it costs one round trip, and shows one moment.
const viewSql = (more = "") => `
  select entity.tenant_id, entity.source_type, entity.source_id, entity.version, entity.title, entity.text,
    entity.metadata, entity.source, ${moment("entity.created_at")} as created_at,
    ${moment("entity.changed_at")} as changed_at,
    (
      select to_jsonb(of) from (
        select document.kind, document.language, ${made("document")},
          (select count(*) from chunks where ${ofEntity}) as chunks
        from documents document where ${ofEntity}
      ) of
    ) as document,
    ${rows(`
      select pipeline, outcome, output, ${made("enrichment")}
      from enrichments enrichment where ${ofEntity} order by pipeline`)} as enrichments,
    ${rows(`
      select id, pipeline, status, source_version, attempt
      from pipeline_runs where ${ofEntity} and status in ('pending', 'running', 'waiting')
      order by id`)} as open_runs
    ${more}
  from entities entity
  where ${ofEntity}`;

const chunksSql = `, ${rows(`
  select ordinal, path, text, start_offset as start, end_offset as "end", tokens, content_kind
  from chunks where ${ofEntity} and ordinal >= $4 order by ordinal limit $5`)} as chunks`;

import { z } from "zod";
import { type Db, execute, many, maybeOne } from "../db.ts";
import { sha256 } from "../hash.ts";
import {
  Chunk,
  embeddedText,
  type Ingested,
  type IngestionPipeline,
  type Stamp,
  TextKind,
  unpackVector,
} from "../pipeline.ts";
import type { EntityKey } from "./entities.ts";
import { searchable } from "./words.ts";

/**
 * Stores what base ingestion made of an entity in place of what it made before: document, chunks, vectors, words.
 * Only an ingestion pipeline's answer fits; nothing else writes these tables.
 */
export async function storeDocument(
  db: Db,
  _pipeline: IngestionPipeline,
  document: {
    readonly key: EntityKey;
    readonly source_version: number;
    readonly stamp: Stamp;
    readonly run_id: string;
    readonly answer: Ingested;
  },
): Promise<void> {
  const { key, source_version, stamp, run_id, answer } = document;
  await execute(db, documentSql, [
    ...columns(key),
    source_version,
    answer.kind,
    answer.language,
    stamp.pipeline_version,
    stamp.model,
    stamp.prompt_hash,
    stamp.input_hash,
    run_id,
  ]);
  await execute(
    db,
    "delete from chunks where tenant_id = $1 and source_type = $2 and source_id = $3",
    columns(key),
  );
  if (answer.chunks.length > 0) await insertChunks(db, key, stamp.model, answer);
}

const documentSql = `
  insert into documents (tenant_id, source_type, source_id, source_version, kind, language,
    pipeline_version, model, prompt_hash, input_hash, run_id)
  values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
  on conflict (tenant_id, source_type, source_id) do update set
    source_version = excluded.source_version, kind = excluded.kind, language = excluded.language,
    pipeline_version = excluded.pipeline_version, model = excluded.model, prompt_hash = excluded.prompt_hash,
    input_hash = excluded.input_hash, run_id = excluded.run_id, stored_at = now()`;

async function insertChunks(db: Db, key: EntityKey, model: string, answer: Ingested): Promise<void> {
  const rows = answer.chunks.map((chunk, ordinal) => ({
    ...chunk,
    ordinal,
    ...searchable(chunk, answer.language),
  }));
  await execute(db, chunksSql, [...columns(key), JSON.stringify(rows)]);
  await insertVectors(db, key, model, answer);
}

const chunksSql = `
  with given as (
    select * from jsonb_to_recordset($4) as given (
      ordinal integer, path text, text text, start integer, "end" integer, tokens integer, content_kind text,
      config text, path_words text, text_words text
    )
  ),
  stored as (
    insert into chunks (tenant_id, source_type, source_id, ordinal, path, text, start_offset, end_offset, tokens, content_kind)
    select $1, $2, $3, ordinal, path, text, start, "end", tokens, content_kind from given
  )
  insert into chunk_fts (tenant_id, source_type, source_id, ordinal, config, words)
  select $1, $2, $3, ordinal, config,
    setweight(to_tsvector(config::regconfig, path_words), 'A') || setweight(to_tsvector(config::regconfig, text_words), 'B')
  from given`;

// A vector is an array of its own: unnest would flatten an array of arrays, so each travels as one text literal.
async function insertVectors(db: Db, key: EntityKey, model: string, answer: Ingested): Promise<void> {
  const vectors = answer.vectors.map(unpackVector);
  await execute(
    db,
    `insert into chunk_vectors (tenant_id, source_type, source_id, ordinal, model, dimensions, text_hash, vector)
     select $1, $2, $3, nth - 1, $4, cardinality(given.vector::real[]), given.hash, given.vector::real[]
     from unnest($5::text[], $6::text[]) with ordinality as given (hash, vector, nth)`,
    [
      ...columns(key),
      model,
      answer.chunks.map((chunk) => sha256(embeddedText(chunk))),
      vectors.map((vector) => `{${vector.join(",")}}`),
    ],
  );
}

/** Says that a document still holds for a newer version of its entity whose text and title are the same. */
export async function confirmDocument(db: Db, key: EntityKey, source_version: number): Promise<void> {
  await execute(
    db,
    `update documents set source_version = $4
     where tenant_id = $1 and source_type = $2 and source_id = $3 and source_version < $4`,
    [...columns(key), source_version],
  );
}

const KnownVector = z.object({ text_hash: z.string(), vector: z.array(z.number()) });

/** The vectors this tenant already has of these texts by this model. */
export async function knownVectors(
  db: Db,
  tenant_id: string,
  model: string,
  hashes: readonly string[],
): Promise<ReadonlyMap<string, readonly number[]>> {
  const rows = await many(
    db,
    KnownVector,
    `select distinct on (text_hash) text_hash, vector
     from chunk_vectors where tenant_id = $1 and model = $2 and text_hash = any ($3)`,
    [tenant_id, model, hashes],
  );
  return new Map(rows.map(({ text_hash, vector }) => [text_hash, vector]));
}

export const StoredDocument = z.object({
  source_version: z.int(),
  kind: TextKind,
  language: z.string().nullable(),
  pipeline_version: z.int(),
  model: z.string(),
  stored_at: z.date(),
});
export type StoredDocument = z.infer<typeof StoredDocument>;

export async function readDocument(db: Db, key: EntityKey): Promise<StoredDocument | undefined> {
  return await maybeOne(
    db,
    StoredDocument,
    "select * from documents where tenant_id = $1 and source_type = $2 and source_id = $3",
    columns(key),
  );
}

export async function readChunks(db: Db, key: EntityKey): Promise<readonly Chunk[]> {
  return await many(
    db,
    Chunk,
    `select path, text, start_offset as start, end_offset as "end", tokens, content_kind
     from chunks where tenant_id = $1 and source_type = $2 and source_id = $3 order by ordinal`,
    columns(key),
  );
}

function columns({ tenant_id, source_type, source_id }: EntityKey): readonly [string, string, string] {
  return [tenant_id, source_type, source_id];
}

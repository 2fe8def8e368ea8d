import { z } from "zod";
import { type Db, execute, many, maybeOne, prepared } from "../db.ts";
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

/** What base ingestion made of an entity. Only an ingestion pipeline's answer fits. */
export type NewDocument = {
  readonly pipeline: IngestionPipeline;
  readonly key: EntityKey;
  readonly source_version: number;
  readonly stamp: Stamp;
  readonly run_id: string;
  readonly answer: Ingested;
};

/** A document as its tables take it. */
export type DocumentRows = Readonly<
  Record<"document", object> & Record<"chunks" | "vectors", readonly object[]>
>;

/** Computes what is stored of a document, which for a long text takes a while: before its transaction begins. */
export function documentRows({ key, source_version, stamp, run_id, answer }: NewDocument): DocumentRows {
  const { tenant_id, source_type, source_id } = key;
  const { kind, language } = answer;
  const of = { tenant_id, source_type, source_id };
  return {
    document: { ...of, source_version, kind, language, ...stamp, run_id },
    chunks: answer.chunks.map((chunk, ordinal) => ({
      ...of,
      ...chunk,
      ordinal,
      ...searchable(chunk, language),
    })),
    vectors: longer(answer.vectors, answer.chunks).map((_, ordinal) => ({
      ...of,
      ordinal,
      model: stamp.model,
      ...vectorOf(answer, ordinal),
    })),
  };
}

// One without the other is refused by its column.
function vectorOf({ chunks, vectors }: Ingested, ordinal: number) {
  const [chunk, vector] = [chunks[ordinal], vectors[ordinal]];
  return {
    text_hash: chunk && sha256(embeddedText(chunk)),
    vector: vector === undefined ? undefined : `{${unpackVector(vector).join(",")}}`,
  };
}

function longer(one: readonly unknown[], other: readonly unknown[]): readonly unknown[] {
  return one.length > other.length ? one : other;
}

/**
 * Stores documents in place of what base ingestion made of their entities before: chunks, vectors, words. Each entity
 * once. Nothing else writes these tables.
 */
export async function storeDocuments(db: Db, documents: readonly DocumentRows[]): Promise<void> {
  if (documents.length === 0) return;
  await execute(db, documentsSql, [JSON.stringify(documents.map(({ document }) => document))]);
  const chunks = documents.flatMap(({ chunks }) => chunks);
  const vectors = documents.flatMap(({ vectors }) => vectors);
  if (chunks.length > 0) await execute(db, chunksSql, [JSON.stringify(chunks)]);
  if (vectors.length > 0) await execute(db, vectorsSql, [JSON.stringify(vectors)]);
}

const documentsSql = prepared(`
  with given as materialized (
    select * from jsonb_to_recordset($1) as given (
      tenant_id uuid, source_type text, source_id uuid, source_version integer, kind text, language text,
      pipeline_version integer, model text, prompt_hash text, input_hash text, run_id uuid,
      fingerprint text
    )
  ),
  stored as (
    insert into documents (tenant_id, source_type, source_id, source_version, kind, language,
      pipeline_version, model, prompt_hash, input_hash, run_id, fingerprint)
    select tenant_id, source_type, source_id, source_version, kind, language,
      pipeline_version, model, prompt_hash, input_hash, run_id, nullif(fingerprint, '')
    from given
    on conflict (tenant_id, source_type, source_id) do update set
      source_version = excluded.source_version, kind = excluded.kind, language = excluded.language,
      pipeline_version = excluded.pipeline_version, model = excluded.model, prompt_hash = excluded.prompt_hash,
      input_hash = excluded.input_hash, run_id = excluded.run_id, fingerprint = excluded.fingerprint,
      stored_at = now()
  )
  delete from chunks using given
  where chunks.tenant_id = given.tenant_id
    and chunks.source_type = given.source_type and chunks.source_id = given.source_id`);

const chunksSql = prepared(`
  with given as (
    select * from jsonb_to_recordset($1) as given (
      tenant_id uuid, source_type text, source_id uuid, ordinal integer, path text, text text, start integer,
      "end" integer, tokens integer, content_kind text, config text, path_words text, text_words text
    )
  ),
  stored as (
    insert into chunks (tenant_id, source_type, source_id, ordinal, path, text, start_offset, end_offset, tokens, content_kind)
    select tenant_id, source_type, source_id, ordinal, path, text, start, "end", tokens, content_kind from given
  )
  insert into chunk_fts (tenant_id, source_type, source_id, ordinal, config, words)
  select tenant_id, source_type, source_id, ordinal, config,
    setweight(to_tsvector(config::regconfig, path_words), 'A') || setweight(to_tsvector(config::regconfig, text_words), 'B')
  from given`);

// A vector travels as the text of an array, which Postgres reads into one; JSON's numbers would be read one by one.
const vectorsSql = `
  insert into chunk_vectors (tenant_id, source_type, source_id, ordinal, model, dimensions, text_hash, vector)
  select tenant_id, source_type, source_id, ordinal, model, cardinality(vector::real[]), text_hash, vector::real[]
  from jsonb_to_recordset($1) as given (
    tenant_id uuid, source_type text, source_id uuid, ordinal integer, model text, text_hash text, vector text
  )`;

/** An output that still holds for a newer version of its entity. */
export type StillTrue = { readonly key: EntityKey; readonly source_version: number };

/** Says that documents still hold for a newer version of their entities whose text and title are the same. */
export async function confirmDocuments(db: Db, confirmed: readonly StillTrue[]): Promise<void> {
  if (confirmed.length === 0) return;
  await execute(db, confirmSql, [
    confirmed.map(({ key }) => key.tenant_id),
    confirmed.map(({ key }) => key.source_type),
    confirmed.map(({ key }) => key.source_id),
    confirmed.map(({ source_version }) => source_version),
  ]);
}

const confirmSql = prepared(`
  update documents set source_version = given.source_version
  from unnest($1::uuid[], $2::text[], $3::uuid[], $4::integer[])
    as given (tenant_id, source_type, source_id, source_version)
  where documents.tenant_id = given.tenant_id and documents.source_type = given.source_type
    and documents.source_id = given.source_id and documents.source_version < given.source_version`);

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

import { randomUUID } from "node:crypto";
import type { Db } from "../../src/db.ts";
import { sha256 } from "../../src/hash.ts";
import { type Chunk, embeddedText, type Ingested, packVector, type Stamp } from "../../src/pipeline.ts";
import { documentRows, storeDocuments } from "../../src/store/documents.ts";
import { type EntityKey, type NewEntity, upsertEntities } from "../../src/store/entities.ts";
import { plainBase } from "./pipelines.ts";

export function scene(given: Partial<NewEntity> = {}): NewEntity {
  return {
    source_type: "scene",
    source_id: randomUUID(),
    title: "The pier",
    text: "“You came,” said Mara.",
    metadata: {},
    ...given,
  };
}

export const baseStamp: Stamp = {
  pipeline_version: 1,
  model: "tiny",
  prompt_hash: "p",
  input_hash: "i",
  fingerprint: "f",
};

export function chunkOf(text: string, given: Partial<Chunk> = {}): Chunk {
  return {
    path: "The pier",
    text,
    start: 0,
    end: text.length,
    tokens: 1,
    content_kind: "narration",
    ...given,
  };
}

/** What base ingestion would answer: the given chunks, each with a vector of its own. */
export function ingested(chunks: readonly Chunk[], language: string | null = "en"): Ingested {
  return {
    kind: "narration",
    language,
    chunks: [...chunks],
    vectors: chunks.map((chunk) => packVector(vectorOf(chunk))),
    mentions: [],
  };
}

/** A vector that Postgres prints as it is, and that tells texts apart. */
export function vectorOf(chunk: Pick<Chunk, "path" | "text">): readonly number[] {
  const hash = sha256(embeddedText(chunk));
  return Array.from(hash.slice(0, 8), (digit) => Number.parseInt(digit, 16) / 16);
}

/** Stores an entity with one chunk for each text, as base ingestion would. */
export async function storeScene(
  db: Db,
  tenant_id: string,
  texts: readonly string[],
  given: Partial<NewEntity> & { readonly language?: string | null } = {},
): Promise<EntityKey> {
  const { language = "en", ...rest } = given;
  const entity = scene({ text: texts.join("\n"), ...rest });
  await upsertEntities(db, tenant_id, "test", [entity]);
  const key = { tenant_id, source_type: entity.source_type, source_id: entity.source_id };
  const chunks = texts.map((text) => chunkOf(text, { path: entity.title }));
  await storeAnswer(db, key, ingested(chunks, language));
  return key;
}

export async function storeAnswer(
  db: Db,
  key: EntityKey,
  answer: Ingested,
  stamp = baseStamp,
): Promise<void> {
  const document = { pipeline: plainBase, key, source_version: 1, stamp, run_id: randomUUID(), answer };
  await storeDocuments(db, [documentRows(document)]);
}

import { randomUUID } from "node:crypto";
import { beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { many } from "../../src/db.ts";
import { sha256 } from "../../src/hash.ts";
import { embeddedText } from "../../src/pipeline.ts";
import { confirmDocuments, knownVectors, readChunks, readDocument } from "../../src/store/documents.ts";
import { upsertEntities } from "../../src/store/entities.ts";
import { readSubjects } from "../../src/store/subjects.ts";
import {
  baseStamp,
  chunkOf,
  ingested,
  scene,
  storeAnswer,
  storeScene,
  vectorOf,
} from "../support/content.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { plainBase } from "../support/pipelines.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});

async function newScene(tenant_id = randomUUID()) {
  const entity = scene();
  await upsertEntities(database.pool, tenant_id, "test", [entity]);
  return { tenant_id, source_type: entity.source_type, source_id: entity.source_id };
}

const Vector = z.object({
  ordinal: z.int(),
  vector: z.array(z.number()),
  text_hash: z.string(),
  model: z.string(),
});

async function vectorsOf({ source_id }: { source_id: string }) {
  return await many(
    database.pool,
    Vector,
    "select ordinal, vector, text_hash, model from chunk_vectors where source_id = $1 order by ordinal",
    [source_id],
  );
}

test("a stored document is read back as it was answered, chunk by chunk, with its stamp", async () => {
  const key = await newScene();
  const chunks = [
    chunkOf("One.", { path: "Part 1 > The pier", content_kind: "dialogue" }),
    chunkOf("Two.", { start: 5, end: 9, tokens: 3 }),
  ];
  await storeAnswer(database.pool, key, ingested(chunks));

  expect(await readChunks(database.pool, key)).toEqual(chunks);
  expect(await readDocument(database.pool, key)).toMatchObject({
    kind: "narration",
    language: "en",
    source_version: 1,
  });
  const { fingerprint: _, ...compared } = baseStamp; // other code alone makes nothing stale
  expect(await readSubjects(database.pool, [{ key, pipeline: plainBase }])).toMatchObject([
    { entity: key, stored: compared },
  ]);
});

test("each chunk has its own vector, under the hash of the text that was embedded", async () => {
  const key = await newScene();
  const chunks = [chunkOf("One."), chunkOf("Two."), chunkOf("One.")];
  await storeAnswer(database.pool, key, ingested(chunks));

  expect(await vectorsOf(key)).toEqual(
    chunks.map((chunk, ordinal) => ({
      ordinal,
      vector: vectorOf(chunk),
      text_hash: sha256(embeddedText(chunk)),
      model: "tiny",
    })),
  );
});

test("a new answer replaces all of the one before", async () => {
  const key = await newScene();
  await storeAnswer(database.pool, key, ingested([chunkOf("One."), chunkOf("Two."), chunkOf("Three.")]));
  await storeAnswer(database.pool, key, ingested([chunkOf("Four.")]), { ...baseStamp, model: "big" });

  expect((await readChunks(database.pool, key)).map(({ text }) => text)).toEqual(["Four."]);
  expect(await vectorsOf(key)).toMatchObject([{ model: "big" }]);
  const { rows } = await database.pool.query("select words::text from chunk_fts where source_id = $1", [
    key.source_id,
  ]);
  expect(rows).toEqual([{ words: "'four':3B 'pier':2A" }]);
});

test("an empty answer leaves a document without chunks", async () => {
  const key = await newScene();
  await storeAnswer(database.pool, key, ingested([chunkOf("One.")]));
  await storeAnswer(database.pool, key, {
    kind: "empty",
    language: null,
    chunks: [],
    vectors: [],
    mentions: [],
  });

  expect(await readChunks(database.pool, key)).toEqual([]);
  expect(await readDocument(database.pool, key)).toMatchObject({ kind: "empty", language: null });
});

test("text with quotes, braces, commas and backslashes stays what it is", async () => {
  const key = await newScene();
  const text = `{"a", 'b'} \\n \\" NULL, {} \t “Öl” 玛拉 🌊`;
  await storeAnswer(database.pool, key, ingested([chunkOf(text, { path: text })]));

  expect(await readChunks(database.pool, key)).toMatchObject([{ text, path: text }]);
  const hash = sha256(embeddedText({ path: text, text }));
  expect([...(await knownVectors(database.pool, key.tenant_id, "tiny", [hash])).keys()]).toEqual([hash]);
});

describe("is refused whole", () => {
  test.each([
    ["fewer vectors than chunks", { vectors: [] }],
    ["an empty vector", { vectors: [""] }],
    ["an empty chunk", { chunks: [chunkOf("", { end: 1 })] }],
    ["a chunk that ends before it starts", { chunks: [chunkOf("One.", { start: 9, end: 4 })] }],
  ])("an answer with %s", async (_, given) => {
    const key = await newScene();

    await expect(
      storeAnswer(database.pool, key, { ...ingested([chunkOf("One.")]), ...given }),
    ).rejects.toThrow();
    expect(await vectorsOf(key)).toEqual([]);
  });
});

test("a vector is known again by text, model and tenant, and by nothing less", async () => {
  const tenant_id = randomUUID();
  await storeScene(database.pool, tenant_id, ["One."]);
  const chunk = chunkOf("One.");
  const hash = sha256(embeddedText(chunk));

  expect(await knownVectors(database.pool, tenant_id, "tiny", [hash, "unknown"])).toEqual(
    new Map([[hash, vectorOf(chunk)]]),
  );
  expect(await knownVectors(database.pool, tenant_id, "big", [hash])).toEqual(new Map());
  expect(await knownVectors(database.pool, randomUUID(), "tiny", [hash])).toEqual(new Map());
});

test("a document may hold for a newer version, but never for an older one again", async () => {
  const key = await newScene();
  await storeAnswer(database.pool, key, ingested([]));
  await confirmDocuments(database.pool, [{ key, source_version: 4 }]);
  await confirmDocuments(database.pool, [{ key, source_version: 3 }]);

  expect(await readDocument(database.pool, key)).toMatchObject({ source_version: 4 });
});

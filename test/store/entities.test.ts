import { randomUUID } from "node:crypto";
import { beforeAll, describe, expect, test } from "vitest";
import { transaction } from "../../src/db.ts";
import { storeEnrichments } from "../../src/store/enrichments.ts";
import {
  childrenOf,
  deleteEntities,
  entitiesOfSource,
  findEntities,
  lockEntities,
  type NewEntity,
  readEntity,
  upsertEntities,
} from "../../src/store/entities.ts";
import { baseStamp, scene, storeScene } from "../support/content.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { untilWaiting } from "../support/held.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});

async function upsert(tenant_id: string, entity: NewEntity, source = "test") {
  const [upserted] = await upsertEntities(database.pool, tenant_id, source, [entity]);
  return upserted;
}

describe("an upsert", () => {
  const entity = scene({ metadata: { world_id: "w", order: 1, start: 0, end: 10 } });
  const changed = { change: "changed", version: 2 };
  const moved = { change: "moved", version: 1 };

  test.each<[string, Partial<NewEntity>, { change: string; version: number }]>([
    ["nothing", {}, { change: "unchanged", version: 1 }],
    ["the text", { text: "“Go,” said Mara." }, changed],
    ["the title", { title: "The quay" }, changed],
    ["the metadata", { metadata: { ...entity.metadata, world_id: "v" } }, changed],
    ["a field more in the metadata", { metadata: { ...entity.metadata, content_kind: "draft" } }, changed],
    ["a field less in the metadata", { metadata: { order: 1, start: 0, end: 10 } }, changed],
    ["only its place", { metadata: { ...entity.metadata, order: 2, start: 5, end: 15 } }, moved],
    [
      "the order of its metadata's fields",
      { metadata: { end: 10, start: 0, order: 1, world_id: "w" } },
      { change: "unchanged", version: 1 },
    ],
  ])("that changes %s says so", async (_, given, expected) => {
    const tenant_id = randomUUID();
    expect(await upsert(tenant_id, entity)).toMatchObject({ change: "created", version: 1 });

    expect(await upsert(tenant_id, { ...entity, ...given })).toMatchObject(expected);
    expect(await readEntity(database.pool, { ...entity, tenant_id })).toEqual({
      ...entity,
      ...given,
      tenant_id,
      version: expected.version,
    });
  });

  test("of another source takes the entity over, without a new version", async () => {
    const tenant_id = randomUUID();
    await upsert(tenant_id, entity, "one");

    expect(await upsert(tenant_id, entity, "other")).toMatchObject({ change: "moved", version: 1 });
    expect(await entitiesOfSource(database.pool, tenant_id, "one")).toEqual([]);
    expect(await entitiesOfSource(database.pool, tenant_id, "other")).toHaveLength(1);
  });

  test("says of each of many what changed", async () => {
    const tenant_id = randomUUID();
    const [kept, edited, added] = [scene(), scene(), scene()];
    await upsertEntities(database.pool, tenant_id, "test", [kept, edited]);
    const upserted = await upsertEntities(database.pool, tenant_id, "test", [
      added,
      kept,
      { ...edited, text: "other" },
    ]);

    const changes = new Map(upserted.map(({ source_id, change }) => [source_id, change]));
    expect([kept, edited, added].map(({ source_id }) => changes.get(source_id))).toEqual([
      "unchanged",
      "changed",
      "created",
    ]);
  });

  test("keeps tenants apart", async () => {
    const [ours, theirs] = [randomUUID(), randomUUID()];
    await upsert(ours, entity);

    expect(await upsert(theirs, entity)).toMatchObject({ change: "created", version: 1 });
    expect(await findEntities(database.pool, entity.source_id, theirs)).toHaveLength(1);
    expect(await readEntity(database.pool, { ...entity, tenant_id: randomUUID() })).toBeUndefined();
  });

  test("stores what JSON can say and Postgres cannot, without it", async () => {
    const tenant_id = randomUUID();
    const odd = scene({ title: "half \ud83d", text: "NUL \0 here", metadata: { "ke\0y": ["\0", "\udc00"] } });
    await upsert(tenant_id, odd);

    expect(await readEntity(database.pool, { ...odd, tenant_id })).toMatchObject({
      title: "half \ufffd",
      text: "NUL  here",
      metadata: { key: ["", "\ufffd"] },
    });
    expect(await upsert(tenant_id, odd)).toMatchObject({ change: "unchanged" });
  });

  test("keeps quotes, backslashes, line ends and every script", async () => {
    const tenant_id = randomUUID();
    const text = `"double" 'single' \\back\\slash {braces} $1 %s \r\n\t “Öl” 玛拉 🌊 \u2028`;
    const odd = scene({ title: text, text, metadata: { text } });
    await upsert(tenant_id, odd);

    expect(await readEntity(database.pool, { ...odd, tenant_id })).toMatchObject({
      title: text,
      text,
      metadata: { text },
    });
  });
});

describe("imports at the same time", () => {
  test("neither deadlock nor lose an entity", async () => {
    const tenant_id = randomUUID();
    const entities = Array.from({ length: 300 }, () => scene());
    const imports = [entities, entities.toReversed(), entities, entities.toReversed()].map((given) =>
      transaction(database.pool, (db) => upsertEntities(db, tenant_id, "test", given)),
    );

    expect((await Promise.all(imports)).map((upserted) => upserted.length)).toEqual([300, 300, 300, 300]);
  });

  test("never give two contents of a new entity one version", async () => {
    const tenant_id = randomUUID();
    const entity = scene();
    const [written, mayCommit] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const one = transaction(database.pool, async (db) => {
      const upserted = await upsertEntities(db, tenant_id, "test", [{ ...entity, text: "one" }]);
      written.resolve();
      await mayCommit.promise;
      return upserted;
    });
    await written.promise;
    const other = transaction(database.pool, (db) =>
      upsertEntities(db, tenant_id, "test", [{ ...entity, text: "other" }]),
    );
    await untilWaiting(database.pool, 1);
    mayCommit.resolve();

    const versions = (await Promise.all([one, other])).map(([upserted]) => upserted?.version);
    expect(versions).toEqual([1, 2]);
    expect(await readEntity(database.pool, { ...entity, tenant_id })).toMatchObject({
      text: "other",
      version: 2,
    });
  });
});

test("deleting takes everything that was made of the entity, and nothing of another", async () => {
  const tenant_id = randomUUID();
  const gone = await storeScene(database.pool, tenant_id, ["One.", "Two."]);
  const stays = await storeScene(database.pool, tenant_id, ["Three."]);
  for (const key of [gone, stays]) {
    await storeEnrichments(database.pool, [
      {
        key,
        pipeline: "echo",
        source_version: 1,
        outcome: "completed",
        stamp: baseStamp,
        run_id: randomUUID(),
        output: {},
      },
    ]);
  }
  const deleted = await deleteEntities(database.pool, tenant_id, [
    gone,
    { ...gone, source_id: randomUUID() },
  ]);

  expect(deleted).toMatchObject([{ source_id: gone.source_id, version: 2 }]);
  for (const table of ["entities", "documents", "chunks", "chunk_vectors", "chunk_fts", "enrichments"]) {
    const { rows } = await database.pool.query(
      `select distinct source_id from ${table} where tenant_id = $1`,
      [tenant_id],
    );
    expect(rows, table).toEqual([{ source_id: stays.source_id }]);
  }
});

test("children come in their order, whatever a source calls an order", async () => {
  const [tenant_id, parent_id] = [randomUUID(), randomUUID()];
  const child = (title: string, order: unknown) => scene({ title, metadata: { parent_id, order } });
  const children = [child("c", 10), child("a", 1), child("e", "first"), child("b", 2.5), child("d", null)];
  await upsertEntities(database.pool, tenant_id, "test", children);

  const titles = (await childrenOf(database.pool, tenant_id, parent_id)).map(({ title }) => title);
  expect(titles).toEqual(["a", "b", "c", "d", "e"]);
  expect(await entitiesOfSource(database.pool, tenant_id, "test")).toHaveLength(5);
});

test("who locks entities and who deletes them, in whichever order, never wait for each other in turn", async () => {
  const tenant_id = randomUUID();
  const entities = [1, 2, 3, 4, 5]
    .map(() => scene())
    .toSorted((a, b) => (a.source_id < b.source_id ? -1 : 1));
  await upsertEntities(database.pool, tenant_id, "test", entities);
  const keys = entities.map(({ source_type, source_id }) => ({ tenant_id, source_type, source_id }));
  const holder = await database.pool.connect();
  await holder.query("begin");
  await holder.query("select from entities where source_id = $1 for update", [keys[2]?.source_id]);
  const both = Promise.all([
    lockEntities(database.pool, keys),
    deleteEntities(database.pool, tenant_id, keys.toReversed()),
  ]);
  await untilWaiting(database.pool, 2);
  await holder.query("commit");
  holder.release();

  const [, deleted] = await both;
  expect(deleted).toHaveLength(5);
});

import { randomUUID } from "node:crypto";
import { beforeAll, expect, test } from "vitest";
import base from "../../graphs/base/pipeline.ts";
import { acceptEntities, removeEntities } from "../../src/intake.ts";
import type { NewEntity } from "../../src/store/entities.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { echo } from "../support/pipelines.ts";
import { runtime, startWorker } from "../support/runtime.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});

const mara: NewEntity = {
  source_type: "character",
  source_id: randomUUID(),
  title: "Mara Voss",
  text: "Role: keeper of the light",
  metadata: { aliases: ["the Lamp"] },
};

const scene = (text: string): NewEntity => ({
  source_type: "scene",
  source_id: randomUUID(),
  title: "A scene",
  text,
  metadata: {},
});

/** Reads about characters, and counts whom it was asked about. */
function setUp() {
  const read: string[] = [];
  const reader = echo(
    ({ source_id }) => {
      read.push(source_id);
      return { said: "read" };
    },
    {
      trigger: { on: "entity.ingested", types: ["character"], mentioned: true },
      reads: (_, { passages }) => passages(["Mara", "Mara Voss", "the Lamp"]),
    },
  );
  const context = runtime(database, reader);
  if (context.registry instanceof Map) context.registry.set("base", base);
  const tenant_id = randomUUID();
  const take = (...entities: NewEntity[]) =>
    acceptEntities(database.pool, context.registry, { tenant_id, source: "test", entities });
  const remove = (entity: NewEntity) => removeEntities(database.pool, context.registry, tenant_id, [entity]);
  return { context, read, take, remove };
}

test("reads a character again when a text mentions it, changes, stops mentioning it, or goes", async () => {
  const { context, read, take, remove } = setUp();
  await using worker = startWorker(context, database);
  await take(mara);
  await worker.untilIdle();
  expect(read).toHaveLength(1);

  const pier = scene("Mara came down to the pier before the fog did.");
  await take(pier);
  await worker.untilIdle();
  expect(read).toHaveLength(2);

  await take({ ...pier, text: "Somebody came down to the pier before the fog did." });
  await worker.untilIdle();
  expect(read).toHaveLength(3);

  const stairs = scene("They called her the Lamp, and she let them.");
  await take(stairs);
  await worker.untilIdle();
  expect(read).toHaveLength(4);

  await remove(stairs);
  await worker.untilIdle();
  expect(read).toHaveLength(5);
  expect(new Set(read)).toEqual(new Set([mara.source_id]));
});

test("does not read a character again for a text that says nothing of it", async () => {
  const { context, read, take } = setUp();
  await using worker = startWorker(context, database);
  await take(mara, scene("The marathon passed the pier without stopping."));
  await worker.untilIdle();

  expect(read).toEqual([mara.source_id]);
});

test("reads a character again when a text changes that spoke of it before it was there", async () => {
  const { context, read, take } = setUp();
  await using worker = startWorker(context, database);
  const pier = scene("Mara was brave on the pier that night.");
  await take(pier);
  await worker.untilIdle();
  await take(mara);
  await worker.untilIdle();
  expect(read).toHaveLength(1);

  await take({ ...pier, text: "Tobin was brave on the pier that night." });
  await worker.untilIdle();
  expect(read).toHaveLength(2);
});

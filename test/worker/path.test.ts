import { beforeAll, expect, test } from "vitest";
import { listRuns } from "../../src/ledger/read.ts";
import { readChunks } from "../../src/store/documents.ts";
import { enrichmentsOf } from "../../src/store/enrichments.ts";
import { eventsOf } from "../../src/store/events.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { echo } from "../support/pipelines.ts";
import { runtime, startWorker, takeScene } from "../support/runtime.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});

test("takes an entity from its change to its enrichment, with every event on the way", async () => {
  const context = runtime(
    database,
    echo(({ text }) => ({ said: text.toUpperCase() })),
  );
  await using worker = startWorker(context, database);
  const scene = await takeScene(context);
  await worker.untilIdle();

  expect(await readChunks(database.pool, scene)).toMatchObject([{ text: scene.text, path: scene.title }]);
  expect(await enrichmentsOf(database.pool, scene)).toMatchObject([
    { pipeline: "echo", output: { said: scene.text.toUpperCase() }, outcome: "completed", model: "echo" },
  ]);
  expect((await eventsOf(database.pool, scene)).map(({ event }) => event)).toEqual([
    "entity.changed",
    "entity.ingested",
    "entity.enriched",
  ]);
  expect(await listRuns(database.pool, { tenant_id: scene.tenant_id })).toMatchObject([
    { pipeline: "echo", status: "success", outcome: "completed", attempt: 1 },
    { pipeline: "base", status: "success", outcome: "completed", attempt: 1, embedding_calls: 1 },
  ]);
});

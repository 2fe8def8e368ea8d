import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { listRuns } from "../../src/ledger/read.ts";
import type { Pipeline } from "../../src/pipeline.ts";
import { readDocument } from "../../src/store/documents.ts";
import { enrichmentsOf } from "../../src/store/enrichments.ts";
import type { NewEntity } from "../../src/store/entities.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { echo, type Given } from "../support/pipelines.ts";
import { emptyLedger, runAbout, runtime, startWorker, takeScene } from "../support/runtime.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});
afterEach(() => emptyLedger(database));

/** Takes a scene in, then once more as `change` says, and counts how often the enricher's graph ran. */
async function callsAfter(change: Partial<NewEntity>, before: Given = {}, after: Given = before) {
  let calls = 0;
  const count = (definition: Given): Pipeline => echo(() => ({ said: `call ${++calls}` }), definition);
  const first = runtime(database, count(before));
  const second = runtime(database, count(after));
  const given = { title: "The pier", text: "She came.", metadata: { content_kind: "final", order: 1 } };
  const scene = await takeScene(first, given);
  {
    await using worker = startWorker(first, database);
    await worker.untilDone();
  }
  await takeScene(second, { ...scene, ...change });
  await using worker = startWorker(second, database);
  await worker.untilDone();
  const [enrichment] = await enrichmentsOf(database.pool, scene);
  return { scene, calls, run: await runAbout(second, scene), enrichment };
}

describe("an enricher", () => {
  test("whose entity changed in its metadata only ends duplicate_skipped, without running its graph", async () => {
    const { calls, run, enrichment } = await callsAfter({ metadata: { content_kind: "draft" } });

    expect(calls).toBe(1);
    expect(run).toMatchObject({
      status: "success",
      outcome: "duplicate_skipped",
      attempt: 0,
      source_version: 2,
    });
    expect(enrichment).toMatchObject({ output: { said: "call 1" } });
  });

  test.each<[string, Partial<NewEntity>, Given?, Given?]>([
    ["the text has changed", { text: "He came." }],
    ["the title has changed", { title: "The quay" }],
    [
      "the metadata that it reads has changed",
      { metadata: { content_kind: "draft" } },
      { reads: ({ metadata }) => metadata.content_kind },
    ],
    ["its version has changed", { metadata: {} }, { version: 1 }, { version: 2 }],
    ["its model has changed", { metadata: {} }, { local: "small rules" }, { local: "large rules" }],
    ["its prompts have changed", { metadata: {} }, { prompts: ["One."] }, { prompts: ["Two."] }],
  ])("runs again where %s", async (_, change, before = {}, after = before) => {
    const { calls, run, enrichment } = await callsAfter(change, before, after);

    expect(calls).toBe(2);
    expect(run).toMatchObject({ status: "success", outcome: "completed" });
    expect(enrichment).toMatchObject({ output: { said: "call 2" }, source_version: 2 });
  });

  test("does not run again where what it reads is the same, though the metadata is not", async () => {
    const { calls } = await callsAfter(
      { metadata: { content_kind: "final", mood: "new" } },
      { reads: ({ metadata }) => metadata.content_kind },
    );

    expect(calls).toBe(1);
  });

  test("does not even start where only the entity's place has changed", async () => {
    const { scene, calls } = await callsAfter({ metadata: { content_kind: "final", order: 2 } });

    expect(calls).toBe(1);
    expect(await listRuns(database.pool, { source_id: scene.source_id, pipeline: "echo" })).toHaveLength(1);
  });

  test("that is asked twice for the same version runs once", async () => {
    const { calls, run } = await callsAfter({});

    expect(calls).toBe(1);
    expect(run.source_version).toBe(1);
  });
});

test("a document whose entity changed in its metadata only is not made again, but holds for the new version", async () => {
  const { scene } = await callsAfter({ metadata: { content_kind: "draft" } });
  const runs = await listRuns(database.pool, { source_id: scene.source_id, pipeline: "base" });

  expect(runs.map(({ outcome }) => outcome)).toEqual(["duplicate_skipped", "completed"]);
  expect(runs.map(({ embedding_calls }) => embedding_calls)).toEqual([0, 1]);
  expect(await readDocument(database.pool, scene)).toMatchObject({ source_version: 2 });
});

import { END, START, StateGraph } from "@langchain/langgraph";
import { afterEach, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { openModels } from "../../src/models/models.ts";
import { definePipeline, Entity } from "../../src/pipeline.ts";
import { completion, embeddings, serverAnswering, settingsFor } from "../models/server.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { emptyLedger, runAbout, runtime, startWorker, takeScene } from "../support/runtime.ts";

let database: TestDatabase;

beforeAll(async () => {
  database = await testDatabase();
});

afterEach(() => emptyLedger(database));

const Said = z.object({ said: z.string() });

/** One question, to the first model or the second. */
const asking = definePipeline({
  name: "asking",
  version: 1,
  models: ["first", "second"],
  trigger: { on: "entity.ingested" },
  output: Said,
  graph: ({ model }) =>
    new StateGraph({ state: Entity.extend(Said.shape), input: Entity, output: Said })
      .addNode("ask", async ({ title }) => ({ said: (await model?.invoke(title))?.text ?? "" }), {
        input: Entity,
      })
      .addEdge(START, "ask")
      .addEdge("ask", END),
});

test("an output bears the model that answered, and is stale for the first once that answers again", async () => {
  let isAway = true;
  const server = await serverAnswering(({ body }) => {
    if (Array.isArray(body.input)) return embeddings(body.input.map(() => [1, 0]));
    const refuses = body.model === "first" && isAway;
    return refuses ? { status: 503, body: {} } : completion({ content: String(body.model) });
  });
  const models = openModels(settingsFor(server.url, { embeddingModel: "two-wide" }));
  const context = { ...runtime(database, asking), models };
  await using worker = startWorker(context, database);

  const scene = await takeScene(context);
  await worker.untilDone();
  expect(await runAbout(context, scene, "asking")).toMatchObject({ status: "success", model: "second" });

  isAway = false;
  await takeScene(context, { ...scene, metadata: { seen: 1 } });
  await worker.untilDone();
  expect(await runAbout(context, scene, "asking")).toMatchObject({ outcome: "completed", model: "first" });

  await takeScene(context, { ...scene, metadata: { seen: 2 } });
  await worker.untilDone();
  expect(await runAbout(context, scene, "asking")).toMatchObject({ outcome: "duplicate_skipped" });
});

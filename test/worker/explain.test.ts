/** What a researcher reads of a graph that does not end, or whose node answers what it must not. */

import { END, START, StateGraph } from "@langchain/langgraph";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { definePipeline, Entity, type Pipeline } from "../../src/pipeline.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { threeSteps } from "../support/pipelines.ts";
import { emptyLedger, forever, runAbout, runtime, startWorker, takeScene } from "../support/runtime.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});
afterEach(() => emptyLedger(database));

/** The run of a pipeline about one new scene, once nothing is left to do. */
async function runOf(pipeline: Pipeline) {
  const context = runtime(database, pipeline);
  await using worker = startWorker(context, database);
  const scene = await takeScene(context);
  await worker.untilDone();
  return await runAbout(context, scene);
}

const Counted = z.object({ count: z.number() });
const State = Entity.extend({ ...Counted.shape, words: z.array(z.string()) });

/** A graph of three nodes whose answers are what `answers` says, whatever their types. */
function counting(answers: Readonly<Record<"read" | "tally" | "tell", unknown>>, loops = false): Pipeline {
  return definePipeline({
    name: "echo",
    version: 1,
    local: "echo",
    trigger: { on: "entity.ingested" },
    retries: { attempts: 1 },
    output: Counted,
    graph: () =>
      new StateGraph({ state: State, input: Entity, output: Counted })
        .addNode("read", () => answers.read as object, { input: Entity })
        .addNode("tally", () => answers.tally as object, { input: State.pick({ words: true }) })
        .addNode("tell", () => answers.tell as object, { input: State.pick({ words: true }) })
        .addEdge(START, "read")
        .addEdge("read", "tally")
        .addEdge("tally", "tell")
        .addConditionalEdges("tell", () => (loops ? "tally" : END), ["tally", END]),
  });
}

describe("a graph that never ends", () => {
  test("is a dead letter at once, which names the nodes that loop and no others", async () => {
    const run = await runOf(counting({ read: { words: ["a"] }, tally: { count: 1 }, tell: {} }, true));

    expect(run).toMatchObject({ status: "failed", attempt: 1, error_code: "GRAPH_ENDLESS" });
    expect(run.error_message).toBe(
      'echo: its graph took 1000 steps and did not end: "tally", "tell" ran again and again',
    );
  }, 300_000);

  test("within its timeout names the node that had not ended", async () => {
    const run = await runOf(
      threeSteps((step) => (step === "two" ? forever() : undefined), {
        timeout: 500,
        retries: { attempts: 1 },
      }),
    );

    expect(run).toMatchObject({ status: "failed", error_code: "ATTEMPT_TIMEOUT" });
    expect(run.error_message).toBe(
      'the graph did not end within its pipeline\'s timeout of 0.5 s: "two" had not ended',
    );
  });
});

describe("a node that answers wrongly", () => {
  test("is named, not the one that would have read it", async () => {
    const run = await runOf(counting({ read: { words: "a b" }, tally: { count: 1 }, tell: {} }));

    expect(run).toMatchObject({ status: "failed", error_code: "ANSWER_INVALID" });
    expect(run.error_message).toContain('the node "read" answered, or was given, what has another shape');
  });

  test("is named where its answer is the graph's", async () => {
    const run = await runOf(counting({ read: { words: [] }, tally: { count: "many" }, tell: {} }));

    expect(run).toMatchObject({ status: "failed", error_code: "ANSWER_INVALID" });
    expect(run.error_message).toContain('the node "tally" answered');
  });

  test("with nothing: the field that nobody wrote is named", async () => {
    const run = await runOf(counting({ read: { words: [] }, tally: {}, tell: {} }));

    expect(run.error_message).toContain("(no node wrote count)");
  });

  test("with no object is named by LangGraph", async () => {
    const run = await runOf(counting({ read: { words: [] }, tally: "three", tell: {} }));

    expect(run).toMatchObject({ status: "failed", error_code: "ANSWER_INVALID" });
    expect(run.error_message).toMatch(/^echo: Expected node "tally" to return an object.*received string$/);
  });
});

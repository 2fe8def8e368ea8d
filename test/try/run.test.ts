import { END, interrupt, START, StateGraph } from "@langchain/langgraph";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { loregraphError } from "../../src/errors.ts";
import { definePipeline, Entity, type Pipeline } from "../../src/pipeline.ts";
import { type Trial, tryGraph } from "../../src/try/run.ts";
import type { Step } from "../../src/try/steps.ts";
import { asking, echo, threeSteps, visits } from "../support/pipelines.ts";

const id = "6f1f0a52-7d0b-4c7e-9a55-0c1d2e3f4a5b";
const entity = Entity.parse({
  tenant_id: id,
  source_type: "scene",
  source_id: id,
  version: 1,
  text: "a b c",
});
const tools = {
  embed: Object.assign(async () => [], { model: "none", dimensions: 0 }),
  read: {
    passages: async () => [],
    mentioned: async () => [],
    previous: async () => undefined,
    enrichment: async () => undefined,
  },
};
const never = new AbortController().signal;

const attempt = (pipeline: Pipeline, more: Partial<Trial> = {}) =>
  tryGraph({ pipeline, tools, entity, signal: never, ...more });

async function failureOf(pipeline: Pipeline, more: Partial<Trial> = {}) {
  const error = await attempt(pipeline, more).then(
    () => undefined,
    (error: unknown) => loregraphError(error),
  );
  return `${error?.code}: ${error?.message}`;
}

const Said = z.object({ said: z.string() });
const Counted = Entity.extend({ said: z.string(), turns: z.number().default(0) });

/** A graph of two nodes, the second of which may lead back to the first. */
function circle(one: () => object, isOver: (turns: number) => boolean): Pipeline {
  return definePipeline({
    name: "circle",
    version: 1,
    local: "none",
    trigger: { on: "entity.ingested" },
    output: Said,
    graph: () =>
      new StateGraph({ state: Counted, input: Entity, output: Said })
        .addNode("one", one)
        .addNode("two", ({ turns = 0 }) => ({ turns: turns + 1, said: "done" }))
        .addEdge(START, "one")
        .addEdge("one", "two")
        .addConditionalEdges("two", ({ turns }) => (isOver(turns) ? END : "one"), ["one", END]),
  });
}

test("tells of each node what it wrote, and of each branch what it looked at", async () => {
  const steps: Step[] = [];
  const pipeline = circle(
    () => ({}),
    (turns) => turns > 1,
  );

  const tried = await attempt(pipeline, { onStep: (step) => steps.push(step) });

  expect(tried).toEqual({ kind: "answered", answer: { said: "done" } });
  expect(steps.filter(({ kind }) => kind !== "node-started")).toMatchObject([
    { kind: "node-ended", node: "one", wrote: {}, failed: false },
    { kind: "branched", node: "two", looked: { turns: 1 }, to: [{ node: "one", times: 1 }] },
    { kind: "node-ended", node: "two", wrote: { turns: 1, said: "done" } },
    { kind: "node-ended", node: "one" },
    { kind: "branched", node: "two", looked: { turns: 2 }, to: [{ node: END, times: 1 }] },
    { kind: "node-ended", node: "two", wrote: { turns: 2 }, before: { turns: 1, said: "done" } },
  ]);
});

test("counts how many tasks a branch sends", async () => {
  const steps: Step[] = [];

  await attempt(
    visits((item) => item),
    { onStep: (step) => steps.push(step) },
  );

  expect(steps.filter(({ kind }) => kind === "branched")).toMatchObject([
    { looked: { text: "a b c" }, to: [{ node: "visit", times: 3 }] },
  ]);
});

describe("a question to a person", () => {
  test("ends it, and is answered by what is given", async () => {
    expect(await attempt(asking("why?"))).toEqual({ kind: "waiting", question: "why?" });
    expect(await attempt(asking("why?"), { answers: ["so"] })).toMatchObject({ answer: { said: "so" } });
  });

  test("may follow another", async () => {
    const twice = echo(() => ({ said: `${interrupt("one?")} ${interrupt("two?")}` }));

    expect(await attempt(twice, { answers: [1] })).toEqual({ kind: "waiting", question: "two?" });
    expect(await attempt(twice, { answers: [1, 2] })).toMatchObject({ answer: { said: "1 2" } });
  });
});

describe("what fails", () => {
  test("a graph that never ends says in which circle", async () => {
    expect(
      await failureOf(
        circle(
          () => ({}),
          () => false,
        ),
      ),
    ).toMatch(/^GRAPH_ENDLESS: .*one → two → one → two.*conditional edge that leads to END$/);
  }, 60_000);

  test("a node that takes too long is named", async () => {
    const slow = threeSteps(async (step) => {
      if (step === "two") await new Promise(() => {});
    });

    expect(await failureOf(slow, { timeout: 300 })).toBe(
      'ATTEMPT_TIMEOUT: the graph did not end within 0.3 s; the node that ran was "two"',
    );
  });

  test("a node that answers another shape is named, with the field", async () => {
    expect(
      await failureOf(
        circle(
          () => ({ turns: "many" }),
          () => true,
        ),
      ),
    ).toMatch(/^ANSWER_INVALID: node "one" (answered|wrote) what .*\n[\s\S]*turns/);
  });

  test("an answer that breaks its promise names the pipeline and the field", async () => {
    expect(await failureOf(echo(() => ({})))).toMatch(/^ANSWER_INVALID: echo: [\s\S]*said/);
  });

  test("a node that throws is named", async () => {
    const broken = threeSteps((step) => {
      if (step === "three") throw new TypeError("no such thing");
    });

    expect(await failureOf(broken)).toBe('GRAPH_FAILED: node "three": no such thing');
  });

  test("an unannounced event is refused", async () => {
    const pipeline = echo(() => ({ said: "", events: [{ event: "made.up", metadata: {} }] }));

    expect(await failureOf(pipeline)).toMatch(/^EVENT_UNKNOWN: /);
  });

  test("an abort throws its reason, though the node does not listen", async () => {
    const stop = new AbortController();
    const deaf = echo(() => new Promise(() => stop.abort(new Error("enough"))));

    await expect(attempt(deaf, { signal: stop.signal })).rejects.toThrow("enough");
  });
});

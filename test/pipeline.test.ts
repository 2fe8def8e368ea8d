import { END, START, StateGraph } from "@langchain/langgraph";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { definePipeline, Entity, packVector, unpackVector } from "../src/pipeline.ts";
import { echo } from "./support/pipelines.ts";

describe("definePipeline", () => {
  test.each([
    ["a name with capitals", { name: "Echo" }, "name"],
    ["version 0", { version: 0 }, "version"],
    ["no attempt", { retries: { attempts: 0 } }, "retries.attempts"],
    ["a timeout that a timer cannot hold", { timeout: 30 * 86_400_000 * 2 }, "timeout"],
    ["a priority that is no whole number", { priority: 0.5 }, "priority"],
  ])("refuses %s, naming the field", (_, wrong, field) => {
    expect(() => echo(() => ({ said: "" }), wrong)).toThrow(
      expect.objectContaining({ code: "PIPELINE_INVALID", message: expect.stringContaining(field) }),
    );
  });

  test("refuses, at compile time, a graph that does not give what is promised", () => {
    const Said = z.object({ said: z.string() });
    const graph = () =>
      new StateGraph({ state: Entity.extend(Said.shape), input: Entity, output: Said })
        .addNode("say", ({ text }) => ({ said: text }), { input: Entity })
        .addEdge(START, "say")
        .addEdge("say", END);
    const shared = { name: "plain", version: 1, trigger: { on: "entity.ingested" }, graph };

    definePipeline({ ...shared, output: Said });
    // @ts-expect-error it answers what was said, not how loud
    definePipeline({ ...shared, output: z.object({ loudness: z.number() }) });
    // @ts-expect-error it never answers how loud
    definePipeline({ ...shared, output: Said.extend({ loudness: z.number() }) });
  });

  test("gives a pipeline the defaults that its documentation states", () => {
    const { name, version, trigger, output, graph } = echo(() => ({ said: "" }));
    const pipeline = definePipeline({ name, version, trigger, output, graph });

    expect(pipeline).toMatchObject({
      retries: { attempts: 5, base: 2_000, most: 600_000 },
      timeout: 600_000,
      priority: 0,
      emits: [],
      prompts: [],
    });
    expect(pipeline.outcome({ said: "" })).toBe("completed");
  });
});

test("packs a vector into a quarter of its JSON and back", () => {
  const vector = [0.5, -0.25, 1, 0];

  expect(unpackVector(packVector(vector))).toEqual(vector);
});

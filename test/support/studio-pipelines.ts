import { END, START, StateGraph } from "@langchain/langgraph";
import { z } from "zod";
import { definePipeline, Entity, type Pipeline } from "../../src/pipeline.ts";
import { asking, echo, type Given, plainBase, threeSteps, visits } from "./pipelines.ts";

/** What Studio is shown in tests: each is also named in the langgraph.json that its server reads. */
export const base = plainBase;

const history: Given = { checkpoints: { history: true } };

/** Three steps, each kept. */
export const steps = threeSteps(() => {}, { name: "steps", ...history });

/** Waits for a person. */
export const asks = asking({ question: "Who is speaking?" }, { name: "asks", ...history });

/** So quick that it saves nothing. */
export const quick = echo(({ title }) => ({ said: title }), { name: "quick" });

/** Visits each word at once. */
export const walks = visits((item) => `${item}!`, { name: "walks", ...history });

const Said = z.object({ said: z.string() });
const Inner = z.object({ text: z.string(), said: z.string().default("") });

const inner = new StateGraph(Inner)
  .addNode("whisper", ({ text }) => ({ said: `(${text.length})` }))
  .addNode("hush", ({ said }) => ({ said: `${said}…` }))
  .addEdge(START, "whisper")
  .addEdge("whisper", "hush")
  .addEdge("hush", END)
  .compile();

/** A graph in a graph. */
export const nested: Pipeline = definePipeline({
  name: "nested",
  version: 1,
  local: "nested",
  trigger: { on: "entity.ingested" },
  output: Said,
  checkpoints: { history: true },
  graph: () =>
    new StateGraph({ state: Entity.extend(Said.shape), input: Entity, output: Said })
      .addNode("inside", inner)
      .addEdge(START, "inside")
      .addEdge("inside", END),
});

export const all = [steps, asks, quick, walks, nested];

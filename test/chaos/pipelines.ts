import { END, type LangGraphRunnableConfig, START, StateGraph } from "@langchain/langgraph";
import { z } from "zod";
import { sha256 } from "../../src/hash.ts";
import { definePipeline, Entity, type Pipeline, type Tools } from "../../src/pipeline.ts";
import type { Registry } from "../../src/registry.ts";
import { plainBase } from "../support/pipelines.ts";

/** What a node asks the model double: for which run it asks, and about what. */
export const Question = z.object({ run: z.string(), node: z.string(), about: z.string() });
export type Question = z.infer<typeof Question>;

/** What the double answers: it depends on the question alone, never on the run, the worker or the time. */
export function answerTo({ node, about }: Omit<Question, "run">): string {
  return `${node} ${sha256(about).slice(0, 16)}`;
}

/** Crashes cost attempts, and there will be many: no run may become a dead letter for that. */
const shared = {
  version: 1,
  retries: { attempts: 200, base: 20, most: 500 },
  trigger: { on: "entity.ingested" },
} as const;

type Config = Pick<LangGraphRunnableConfig, "signal" | "configurable">;

async function ask({ model }: Tools, node: string, about: string, config: Config): Promise<string> {
  if (!model) throw new Error("the graphs of the chaos suite ask a model");
  const question: Question = { run: String(config.configurable?.thread_id), node, about };
  const { signal } = config;
  return (await model.invoke(JSON.stringify(question), signal ? { signal } : {})).text;
}

const Chain = z.object({ first: z.string(), second: z.string() });

/** Two questions, one after the other: between them lies an answer that must not be lost. */
const chain = definePipeline({
  ...shared,
  name: "chain",
  output: Chain,
  graph: (tools) =>
    new StateGraph({ state: Entity.extend(Chain.shape), input: Entity, output: Chain })
      .addNode("ask first", async ({ text }, config) => ({ first: await ask(tools, "first", text, config) }))
      .addNode("ask second", async ({ first }, config) => ({
        second: await ask(tools, "second", first, config),
      }))
      .addEdge(START, "ask first")
      .addEdge("ask first", "ask second")
      .addEdge("ask second", END),
});

const Pair = z.object({ left: z.string(), right: z.string(), both: z.string() });

/** Two questions at once, and one about both answers: where one of the two fails, the other is to be kept. */
const pair = definePipeline({
  ...shared,
  name: "pair",
  output: Pair,
  graph: (tools) =>
    new StateGraph({ state: Entity.extend(Pair.shape), input: Entity, output: Pair })
      .addNode("ask left", async ({ text }, config) => ({ left: await ask(tools, "left", text, config) }))
      .addNode("ask right", async ({ text }, config) => ({ right: await ask(tools, "right", text, config) }))
      .addNode("ask both", async ({ left, right }, config) => ({
        both: await ask(tools, "both", `${left} ${right}`, config),
      }))
      .addEdge(START, "ask left")
      .addEdge(START, "ask right")
      .addEdge(["ask left", "ask right"], "ask both")
      .addEdge("ask both", END),
});

const Quick = z.object({ said: z.string() });

/** Asks nobody: over before anything could be saved. */
const quick = definePipeline({
  ...shared,
  name: "quick",
  local: "quick",
  output: Quick,
  graph: () =>
    new StateGraph({ state: Entity.extend(Quick.shape), input: Entity, output: Quick })
      .addNode("shout", ({ text }) => ({ said: text.toUpperCase() }))
      .addEdge(START, "shout")
      .addEdge("shout", END),
});

/** The channels that hold answers of the double, each that of the node which asks. */
export const askingNodes = ["first", "second", "left", "right", "both"] as const;

const enrichers: readonly Pipeline[] = [chain, pair, quick];
const base: Pipeline = { ...plainBase, retries: shared.retries };
export const registry: Registry = new Map([base, ...enrichers].map((pipeline) => [pipeline.name, pipeline]));

/** What each enricher is to have stored of a text. */
export function outputsOf(text: string): Readonly<Record<string, Record<string, string>>> {
  const of = (node: string, about: string) => answerTo({ node, about });
  const [first, left, right] = [of("first", text), of("left", text), of("right", text)];
  return {
    chain: { first, second: of("second", first) },
    pair: { left, right, both: of("both", `${left} ${right}`) },
    quick: { said: text.toUpperCase() },
  };
}

/** What the tests of graphs need, as a door of its own: a program that runs pipelines loads none of it. */
import { fileURLToPath } from "node:url";
import { LoregraphError } from "./errors.ts";
import { type Example, readExamples as readAll } from "./eval/examples.ts";
import { openModels } from "./models/models.ts";
import { Entity, type Pipeline, type Tools } from "./pipeline.ts";
import { checkedAnswer } from "./worker/answer.ts";

/** A chat model that answers what it is told to; see its own documentation in `@langchain/core/testing`. */
export { fakeModel } from "@langchain/core/testing";

export type { Example } from "./eval/examples.ts";

/**
 * Reads the `examples.jsonl` of a graph, an example a line, as `loregraph eval` does. Throws INPUT_INVALID, naming the
 * line that is none.
 */
export async function readExamples(file: URL | string, pipeline: Pipeline): Promise<readonly Example[]> {
  const path = file instanceof URL ? fileURLToPath(file) : file;
  const { examples, rejected } = await readAll(path, { pipeline });
  const [first] = rejected;
  if (first) throw new LoregraphError("INPUT_INVALID", `${path}:${first.line}: ${first.reason}`);
  return examples;
}

/**
 * Runs a pipeline's graph on one entity and checks its answer as a worker does, but stores nothing. Without `tools` it
 * has no chat model, the local embedder, and a tenant that holds nothing else.
 */
export async function answerOf(
  pipeline: Pipeline,
  entity: Entity,
  tools: Partial<Tools> = {},
): Promise<Record<string, unknown>> {
  const compiled = pipeline.graph({ ...testTools(), ...tools }).compile({ name: pipeline.name });
  return checkedAnswer(pipeline, await compiled.invoke(Entity.parse(entity)));
}

function testTools(): Tools {
  const { embed } = openModels(local).lend({ known: async () => new Map() });
  const [none, nothing] = [async () => [], async () => undefined];
  const read = { passages: none, mentioned: none, previous: nothing, enrichment: nothing };
  return { embed, read };
}

const local = {
  apiKey: undefined,
  baseUrl: undefined,
  chatModel: "none",
  embeddingModel: "none",
  timeoutMs: 1_000,
  prices: undefined,
};

/** What the tests of graphs need, as a door of its own: a program that runs pipelines loads none of it. */
import { readFileSync } from "node:fs";
import { z } from "zod";
import { LoregraphError, messageOf } from "./errors.ts";
import { openModels } from "./models/models.ts";
import { Entity, type Pipeline, type Tools } from "./pipeline.ts";
import { checkedAnswer } from "./worker/answer.ts";

/** A chat model that answers what it is told to; see its own documentation in `@langchain/core/testing`. */
export { fakeModel } from "@langchain/core/testing";

/** An input of a graph, and what its answer holds at least. */
export const Example = z.object({
  name: z.string(),
  input: Entity,
  expected: z.record(z.string(), z.unknown()),
});
export type Example = z.infer<typeof Example>;

/** Reads `examples.jsonl`, an example a line. Throws INPUT_INVALID, naming the line that is none. */
export function readExamples(file: URL | string): readonly Example[] {
  const lines = readFileSync(file, "utf8").split("\n");
  return lines.flatMap((line, at) => (line.trim() === "" ? [] : [readExample(line, `${file}:${at + 1}`)]));
}

function readExample(line: string, where: string): Example {
  try {
    return Example.parse(JSON.parse(line));
  } catch (cause) {
    const why = cause instanceof z.ZodError ? z.prettifyError(cause) : messageOf(cause);
    throw new LoregraphError("INPUT_INVALID", `${where}: expected an example, got: ${why}`, { cause });
  }
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

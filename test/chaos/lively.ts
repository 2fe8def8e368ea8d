import { setTimeout as thinking } from "node:timers/promises";
import type { Embed, Pipeline } from "../../src/pipeline.ts";
import { echo, type Given, plainBase, type Step, threeSteps } from "../support/pipelines.ts";
import type { Life } from "./mortal.ts";

/** Base ingestion that notes in a life that it began. */
export function livelyBase(life: Life): Pipeline {
  return { ...plainBase, graph: (tools) => plainBase.graph({ ...tools, embed: noting(life, tools.embed) }) };
}

function noting(life: Life, embed: Embed): Embed {
  const noted = async (...asked: Parameters<Embed>) => {
    await life.do("base");
    return await embed(...asked);
  };
  return Object.assign(noted, { model: embed.model, dimensions: embed.dimensions });
}

/** An enricher that notes in a life that it began, and then answers what `answer` says. */
export function livelyEcho(life: Life, answer: Parameters<typeof echo>[0], definition: Given = {}): Pipeline {
  return echo(async (...given) => {
    await life.do(definition.name ?? "echo");
    return await answer(...given);
  }, definition);
}

/** An enricher of three steps, the second of which takes long enough that what it answers is worth saving at once. */
export function livelySteps(life: Life, definition: Given = {}): Pipeline {
  return threeSteps(async (step: Step) => {
    await life.do(step === "one" ? (definition.name ?? "echo") : step);
    if (step === "two") await thinking(slowMs);
  }, definition);
}

/** Longer than any saver may wait before it saves the answer of a node that took so long, in milliseconds. */
export const slowMs = 80;

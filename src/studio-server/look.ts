import type { Embed, Pipeline, Reader } from "../pipeline.ts";
import type { StudioServices } from "./services.ts";

/**
 * A pipeline's graph to look at, with its states as they were stored; nothing of it is run. A graph may be another one
 * where it is lent a chat model, so it is lent one unless `model`, which made what is looked at, is its own rules.
 */
export function graphToLookAt(
  { models, saver }: Pick<StudioServices, "models" | "saver">,
  { name, graph, local }: Pipeline,
  made_by?: string | null,
) {
  const lent = models.lend({ known: async () => new Map() });
  const model = made_by !== undefined && made_by === local ? undefined : lent.model;
  return graph({ model, embed, read }).compile({ name, checkpointer: saver });
}

const nothing = () => {
  throw new Error("expected a graph that is only looked at to read nothing");
};

const embed: Embed = Object.assign(nothing, { model: "none", dimensions: 0 });

const read: Reader = { passages: nothing, mentioned: nothing, previous: nothing, enrichment: nothing };

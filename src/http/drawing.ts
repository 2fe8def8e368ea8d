import type { Embed, Pipeline, Reader } from "../pipeline.ts";

/** A pipeline's graph as Mermaid, as it is without a chat model. Drawing runs nothing of it. */
export async function draw({ graph }: Pipeline): Promise<string> {
  const drawable = await graph({ embed, read }).compile().getGraphAsync();
  return drawable.drawMermaid();
}

const embed: Embed = Object.assign(async () => [], { model: "none", dimensions: 0 });

const read: Reader = {
  passages: async () => [],
  mentioned: async () => [],
  previous: async () => undefined,
  enrichment: async () => undefined,
};

import { readConfig } from "../../config.ts";
import { openModels } from "../../models/models.ts";
import type { Pipeline } from "../../pipeline.ts";
import { loadRegistry } from "../../registry.ts";
import { print } from "../output.ts";
import { newCommand, unknownPipeline } from "../program.ts";

export const command = () =>
  newCommand("graph", "draw a pipeline's graph as Mermaid", "loregraph graph dialog-mood > dialog-mood.mmd")
    .argument("<pipeline>", "its name in langgraph.json")
    .action(async (name, { json }) => {
      const config = readConfig();
      const registry = await loadRegistry(config.graphs);
      const pipeline = registry.get(name);
      if (!pipeline) throw unknownPipeline(name, registry.keys());
      const mermaid = await draw(pipeline, openModels(config.models));
      print({ pipeline: name, version: pipeline.version, mermaid }, json, () => mermaid);
    });

/** Draws what the graph is with the configured models; drawing calls none of them. */
async function draw(pipeline: Pipeline, models: ReturnType<typeof openModels>): Promise<string> {
  const { model, embed } = models.lend({ known: async () => new Map() });
  const nothing = async () => undefined;
  const read = {
    passages: async () => [],
    mentioned: async () => [],
    previous: nothing,
    enrichment: nothing,
  };
  const drawable = await pipeline.graph({ model, embed, read }).compile().getGraphAsync();
  return drawable.drawMermaid();
}

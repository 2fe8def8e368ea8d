import { writeFile } from "node:fs/promises";
import { Option } from "@commander-js/extra-typings";
import { readConfig } from "../../config.ts";
import { openModels } from "../../models/models.ts";
import type { Pipeline } from "../../pipeline.ts";
import { loadRegistry } from "../../registry.ts";
import { print } from "../output.ts";
import { newCommand, unknownPipeline } from "../program.ts";
import { svgOf } from "../svg/draw.ts";

const formats = ["mermaid", "svg"] as const;
type Format = (typeof formats)[number];

export const command = () =>
  newCommand(
    "graph",
    "draw a pipeline's graph as Mermaid or SVG",
    "loregraph graph dialog-mood --svg --out dialog-mood.svg",
  )
    .argument("<pipeline>", "its name in langgraph.json")
    .addOption(new Option("--format <format>", "how").choices(formats).default("mermaid" as const))
    .option("--svg", "the same as --format svg")
    .option("--out <file>", "where to write it; else it is printed")
    .action(async (name, { format, svg, out, json }) => {
      const config = readConfig();
      const registry = await loadRegistry(config.graphs);
      const pipeline = registry.get(name);
      if (!pipeline) throw unknownPipeline(name, registry.keys());
      const as = svg ? "svg" : format;
      const drawing = await draw(pipeline, openModels(config.models), as);
      if (out !== undefined) await writeFile(out, drawing);
      const answer = { pipeline: name, version: pipeline.version, [as]: drawing };
      print(out === undefined ? answer : { ...answer, out }, json, () => out ?? drawing);
    });

/** Draws what the graph is with the configured models; drawing calls none of them. */
async function draw(
  pipeline: Pipeline,
  models: ReturnType<typeof openModels>,
  format: Format,
): Promise<string> {
  const { model, embed } = models.lend({ known: async () => new Map() });
  const nothing = async () => undefined;
  const read = {
    passages: async () => [],
    mentioned: async () => [],
    previous: nothing,
    enrichment: nothing,
  };
  const drawable = await pipeline.graph({ model, embed, read }).compile().getGraphAsync();
  if (format === "mermaid") return drawable.drawMermaid();
  return svgOf({
    nodes: new Map(Object.values(drawable.nodes).map(({ id, name }) => [id, name])),
    edges: drawable.edges.map(({ source, target, data, conditional = false }) => ({
      ...{ source, target, label: data, isConditional: conditional },
    })),
  });
}

import type { Config } from "../config.ts";
import { LoregraphError } from "../errors.ts";
import type { Pipeline } from "../pipeline.ts";
import { findPipeline, loadRegistry, versionsIn } from "../registry.ts";
import { unknownPipeline } from "./program.ts";

/** The pipeline of this name, of the version that is asked for. Throws INPUT_INVALID where it is not loaded. */
export async function loadedPipeline(
  name: string,
  version: number | undefined,
  { graphs }: Pick<Config, "graphs">,
): Promise<Pipeline> {
  const registry = await loadRegistry(graphs);
  if (!registry.has(name)) throw unknownPipeline(name, registry.keys());
  const pipeline = findPipeline(registry, name, version);
  if (pipeline) return pipeline;
  const loaded = versionsIn(registry).filter((one) => one.name === name);
  const versions = loaded.map((one) => one.version).join(", ");
  throw new LoregraphError(
    "INPUT_INVALID",
    `expected a version of ${name} that langgraph.json names (${versions}), got: ${version}`,
  );
}

import type { Config } from "../config.ts";
import { LoregraphError } from "../errors.ts";
import type { Pipeline } from "../pipeline.ts";
import { loadRegistry } from "../registry.ts";
import { unknownPipeline } from "./program.ts";

/** The pipeline of this name, of the version that is asked for. Throws INPUT_INVALID where it is not loaded. */
export async function loadedPipeline(
  name: string,
  version: number | undefined,
  { graphs }: Pick<Config, "graphs">,
): Promise<Pipeline> {
  const registry = await loadRegistry(graphs);
  const pipeline = registry.get(name);
  if (!pipeline) throw unknownPipeline(name, registry.keys());
  if (version === undefined || pipeline.version === version) return pipeline;
  throw new LoregraphError(
    "INPUT_INVALID",
    `expected a version of ${name} that is loaded (${pipeline.version}), got: ${version}`,
  );
}

import { unknownPipeline } from "./program.ts";

/** Throws INPUT_INVALID for a pipeline that `langgraph.json` does not name. Loads all graphs to know. */
export async function assertRegistered(pipeline: string, graphs: string | undefined): Promise<void> {
  const { loadRegistry, pipelineOfRun } = await import("../registry.ts");
  const registry = await loadRegistry(graphs);
  if (!pipelineOfRun(registry, pipeline)) throw unknownPipeline(pipeline, registry.keys());
}

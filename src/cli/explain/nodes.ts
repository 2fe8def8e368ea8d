import { CheckpointSaver } from "../../../checkpoints/saver.ts";
import { CheckpointWriter } from "../../../checkpoints/writer.ts";
import type { Pool } from "../../db.ts";
import type { Embed, Pipeline, Reader } from "../../pipeline.ts";

/** A step of a graph: the nodes that ran in it, side by side. */
export type Step = { readonly step: number; readonly at: string | null; readonly nodes: readonly string[] };

export type Steps = {
  readonly steps: readonly Step[];
  /** Why there are none, or not all. */
  readonly note: string | null;
};

/** The most steps that are shown. */
const most = 200;

/** What a run's checkpoints tell of the nodes that ran. Reads only: nothing of the graph runs. */
export async function stepsOf(pool: Pool, pipeline: Pipeline | undefined, run_id: string): Promise<Steps> {
  if (pipeline === undefined) return { steps: [], note: "its pipeline is not in langgraph.json" };
  const { history, keepHours } = pipeline.checkpoints;
  const checkpointer = new CheckpointSaver(new CheckpointWriter(pool));
  const graph = pipeline.graph({ embed, read }).compile({ checkpointer });
  const steps: Step[] = [];
  for await (const state of graph.getStateHistory({ configurable: { thread_id: run_id } }, { limit: most })) {
    const nodes = state.tasks.map(({ name }) => name).filter((name) => name !== "__start__");
    if (nodes.length > 0) steps.unshift({ step: stepOf(state.metadata), at: state.createdAt ?? null, nodes });
  }
  if (history && steps.length > 0) return { steps, note: null };
  const how = "checkpoints: { history: true } in its pipeline keeps them all";
  if (history) return { steps, note: `its checkpoints are gone: they are kept for ${keepHours} h` };
  return {
    steps,
    note: steps.length > 0 ? `only the newest checkpoint is kept; ${how}` : `none are kept; ${how}`,
  };
}

function stepOf(metadata: unknown): number {
  return Number((metadata as { step?: unknown } | undefined)?.step ?? -1) + 1;
}

const embed: Embed = Object.assign(async () => [], { model: "none", dimensions: 0 });

const read: Reader = {
  passages: async () => [],
  mentioned: async () => [],
  previous: async () => undefined,
  enrichment: async () => undefined,
};

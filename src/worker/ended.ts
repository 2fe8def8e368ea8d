import type { NotedCall } from "../ledger/calls.ts";
import type { ClaimedRun } from "../ledger/run.ts";
import type { Entity, Pipeline, Usage } from "../pipeline.ts";
import type { Ending, GraphEnding } from "./ending.ts";

/** An attempt at a graph that has ended, with all that its commit needs. */
export type Ended<How extends GraphEnding = GraphEnding> = {
  readonly run: ClaimedRun;
  readonly pipeline: Pipeline;
  /** The entity as the attempt read it; undefined where it was gone. */
  readonly entity: Entity | undefined;
  readonly ending: How;
  readonly usage: Usage;
  /** What it asked of models and has not noted yet. */
  readonly calls: readonly NotedCall[];
};

/** An ending of these kinds. */
export type Ends<Kind extends Ending["kind"]> = Extract<Ending, { kind: Kind }>;

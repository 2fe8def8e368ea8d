import type { ModelCall } from "../../models/calls.ts";
import type { Usage } from "../../pipeline.ts";
import type { Step } from "../../try/steps.ts";

type Ended = Extract<Step, { kind: "node-ended" }>;
type Branched = Extract<Step, { kind: "branched" }>;

/** One node that ended, with what it asked and where it led. */
export type NodeReport = Omit<Ended, "kind" | "task" | "before"> & {
  readonly calls: readonly CallReport[];
  readonly branches: readonly Omit<Branched, "kind" | "node">[];
};

/** A model call; the bodies stand in it only where they are asked for. */
export type CallReport = Omit<ModelCall, "request" | "response" | "node"> &
  Partial<Pick<ModelCall, "request" | "response">>;

/** What all of it took. */
export type Total = Omit<Usage, "tokens_cached" | "vectors_reused"> & { readonly ms: number };

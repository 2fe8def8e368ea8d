import { type Runnable, RunnableLambda } from "@langchain/core/runnables";
import { Send } from "@langchain/langgraph";
import type { Pipeline } from "../pipeline.ts";
import type { Step, Target } from "./steps.ts";

type Graph = ReturnType<Pipeline["graph"]>;
type Branched = Extract<Step, { kind: "branched" }>;

/** Has each conditional edge of a graph, before it is compiled, tell which way it went, and what it looked at. */
export function watchBranches(graph: Graph, tell: (step: Branched) => void): void {
  for (const [node, branches] of Object.entries(graph.branches))
    for (const branch of Object.values(branches)) branch.path = watched(node, branch.path, tell);
}

function watched(node: string, path: Runnable, tell: (step: Branched) => void): Runnable {
  return RunnableLambda.from(async (state: unknown, config) => {
    const looked: Record<string, unknown> = {};
    const went: unknown = await path.invoke(noting(state, looked), config);
    tell({ kind: "branched", node, looked, to: targetsOf(went) });
    return went;
  });
}

/** The state as it is, but each field that is read is noted. */
function noting(state: unknown, looked: Record<string, unknown>): unknown {
  if (typeof state !== "object" || state === null || Array.isArray(state)) return state;
  return new Proxy(state, {
    get(target, field, receiver) {
      const value: unknown = Reflect.get(target, field, receiver);
      if (typeof field === "string" && Object.hasOwn(target, field)) looked[field] = value;
      return value;
    },
  });
}

function targetsOf(went: unknown): readonly Target[] {
  const names = [went].flat().map(nameOf);
  return [...Map.groupBy(names, (name) => name)].map(([node, all]) => ({ node, times: all.length }));
}

function nameOf(target: unknown): string {
  return target instanceof Send ? target.node : String(target);
}

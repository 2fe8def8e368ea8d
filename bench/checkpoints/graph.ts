import { END, START, StateGraph } from "@langchain/langgraph";
import { z } from "zod";

const State = z.object({ text: z.string(), note: z.string().default("") });

/** A chain of so many nodes that call nothing and each leave a note beside the text. */
export function chain(nodes: number) {
  const names = Array.from({ length: nodes }, (_, nth) => `n${nth}`);
  const graph = new StateGraph({ state: State }) as unknown as Chain;
  for (const name of names) graph.addNode(name, ({ text }) => ({ note: `${name} read ${text.length}` }));
  [START, ...names].forEach((from, nth) => {
    graph.addEdge(from, names[nth] ?? END);
  });
  return graph;
}

/** The graph's type knows its nodes by name; these are made in a loop. */
type Chain = {
  addNode(name: string, does: (state: z.infer<typeof State>) => Partial<z.infer<typeof State>>): unknown;
  addEdge(from: string, to: string): unknown;
  compile: StateGraph<typeof State>["compile"];
};

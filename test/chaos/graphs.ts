import { setTimeout as thinking } from "node:timers/promises";
import { END, interrupt, Send, START, StateGraph } from "@langchain/langgraph";
import { registry } from "@langchain/langgraph/zod";
import { z } from "zod";
import { definePipeline, Emitted, Entity, type Pipeline } from "../../src/pipeline.ts";
import { slowMs } from "./lively.ts";

/** What a process notes of its graphs: that a node began, and that it has its answer. */
export type Notes = {
  readonly began: (node: string) => Promise<void>;
  readonly answered: (node: string) => void;
};

const Answer = z.object({ said: z.string(), events: z.array(Emitted).optional() });

/** Which nodes have answered, each once. A graph within a graph gives back what it was given as well. */
const Path = z.object({
  path: z.array(z.string()).register(registry, {
    reducer: { fn: (path: readonly string[], more: readonly string[]) => [...new Set([...path, ...more])] },
    default: () => [],
  }),
});
const State = Entity.extend(Answer.shape).extend(Path.shape);
type State = z.infer<typeof State>;

const Visit = z.object({ item: z.string() });

type Graph = ReturnType<Pipeline["graph"]>;

function enricher(graph: () => Graph): Pipeline {
  return definePipeline({
    name: "echo",
    version: 1,
    local: "echo",
    trigger: { on: "entity.ingested" },
    retries: { attempts: 3, base: 1, most: 5 },
    emits: ["path.walked"],
    output: Answer,
    graph: () => graph() as never,
  });
}

/** Graphs of every form that a graph has, whose nodes all take long enough that what they answer is worth saving. */
export function formsOf({ began, answered }: Notes): Readonly<Record<string, Pipeline>> {
  const does = async (name: string) => {
    await began(name);
    await thinking(slowMs);
    answered(name);
    return { path: [name] };
  };
  const node = (name: string) => () => does(name);
  const say = ({ path }: State) => ({ said: path.toSorted().join(" ") });
  const start = () => new StateGraph({ state: State, input: Entity, output: Answer });
  return {
    "a chain": enricher(() =>
      start()
        .addNode("one", node("one"))
        .addNode("two", node("two"))
        .addNode("three", node("three"))
        .addNode("say", say)
        .addEdge(START, "one")
        .addEdge("one", "two")
        .addEdge("two", "three")
        .addEdge("three", "say")
        .addEdge("say", END),
    ),
    "a branch": enricher(() =>
      start()
        .addNode("weigh", node("weigh"))
        .addNode("left", node("left"))
        .addNode("right", node("right"))
        .addNode("say", say)
        .addEdge(START, "weigh")
        .addConditionalEdges("weigh", ({ path }) => (path.includes("weigh") ? "right" : "left"), [
          "left",
          "right",
        ])
        .addEdge("left", "say")
        .addEdge("right", "say")
        .addEdge("say", END),
    ),
    "a fan-out": enricher(() =>
      start()
        .addNode("set out", node("set out"))
        .addNode("visit", ({ item }) => does(`visit ${item}`), { input: Visit })
        .addNode("come back", node("come back"))
        .addNode("say", say)
        .addEdge(START, "set out")
        .addConditionalEdges("set out", () => ["a", "b", "c"].map((item) => new Send("visit", { item })), [
          "visit",
        ])
        .addEdge("visit", "come back")
        .addEdge("come back", "say")
        .addEdge("say", END),
    ),
    "a graph within a graph": enricher(() => {
      const inner = new StateGraph(State)
        .addNode("deep", node("deep"))
        .addNode("deeper", node("deeper"))
        .addEdge(START, "deep")
        .addEdge("deep", "deeper")
        .addEdge("deeper", END)
        .compile();
      return start()
        .addNode("before", node("before"))
        .addNode("inner", inner)
        .addNode("after", node("after"))
        .addNode("say", say)
        .addEdge(START, "before")
        .addEdge("before", "inner")
        .addEdge("inner", "after")
        .addEdge("after", "say")
        .addEdge("say", END);
    }),
    "a loop": enricher(() =>
      start()
        .addNode("turn", ({ path }) => does(`turn ${path.length}`))
        .addNode("say", say)
        .addEdge(START, "turn")
        .addConditionalEdges("turn", ({ path }) => (path.length < 3 ? "turn" : "say"), ["turn", "say"])
        .addEdge("say", END),
    ),
    "a question to a person": enricher(() =>
      start()
        .addNode("think", node("think"))
        .addNode("ask", async ({ path }) => {
          await began("ask");
          return { said: String(interrupt({ about: path })) };
        })
        .addEdge(START, "think")
        .addEdge("think", "ask")
        .addEdge("ask", END),
    ),
    "a node that tells of an event": enricher(() =>
      start()
        .addNode("walk", node("walk"))
        .addNode("tell", async ({ path }) => {
          await does("tell");
          return { path: ["tell"], events: [{ event: "path.walked", metadata: { path } }] };
        })
        .addNode("say", say)
        .addEdge(START, "walk")
        .addEdge("walk", "tell")
        .addEdge("tell", "say")
        .addEdge("say", END),
    ),
  };
}

import { END, START, StateGraph } from "@langchain/langgraph";
import { z } from "zod";
import { definePipeline, Entity, type Tools } from "../../src/pipeline.ts";

const Answer = z.object({ said: z.string() });

/** One question to the chat model. */
export const ask = definePipeline({
  name: "ask",
  version: 1,
  trigger: { on: "entity.changed" },
  output: Answer,
  graph: ({ model }: Tools) =>
    new StateGraph({ state: Entity.extend(Answer.shape), input: Entity, output: Answer })
      .addNode("ask", async ({ title }) => ({ said: (await model?.invoke(title))?.text ?? "" }), {
        input: Entity,
      })
      .addEdge(START, "ask")
      .addEdge("ask", END),
});

import { setTimeout as delay } from "node:timers/promises";
import { END, START, StateGraph } from "@langchain/langgraph";
import { z } from "zod";
import { definePipeline, Entity } from "../../../src/pipeline.ts";

const Note = z.object({ letters: z.int() });

/** An enricher that takes as long as the entity's metadata says. */
export default definePipeline({
  name: "note",
  version: 1,
  local: "note",
  trigger: { on: "entity.ingested" },
  output: Note,
  graph: () =>
    new StateGraph({ state: Entity.extend(Note.shape), input: Entity, output: Note })
      .addNode(
        "count",
        async ({ text, metadata }, { signal }) => {
          await delay(Number(metadata.ms ?? 0), undefined, { signal });
          return { letters: text.length };
        },
        { input: Entity },
      )
      .addEdge(START, "count")
      .addEdge("count", END),
});

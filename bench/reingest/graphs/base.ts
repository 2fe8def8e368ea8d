import { setTimeout as delay } from "node:timers/promises";
import { END, START, StateGraph } from "@langchain/langgraph";
import { defineIngestion, Entity, Ingested, packVector } from "../../../src/pipeline.ts";

/** One chunk, after the milliseconds that the entity's metadata names: what a model server would take. */
export default defineIngestion({
  name: "base",
  version: 1,
  trigger: { on: "entity.changed" },
  graph: ({ embed }) =>
    new StateGraph({ state: Entity.extend(Ingested.shape), input: Entity, output: Ingested })
      .addNode(
        "ingest",
        async ({ title, text, metadata }, { signal }) => {
          await delay(Number(metadata.ms ?? 0), undefined, { signal });
          const [vector = []] = await embed([text]);
          const chunk = { path: title, text, start: 0, end: text.length, tokens: text.length >> 2 };
          return {
            kind: "narration" as const,
            language: "en",
            chunks: [{ ...chunk, content_kind: "narration" as const }],
            vectors: [packVector(vector)],
          };
        },
        { input: Entity },
      )
      .addEdge(START, "ingest")
      .addEdge("ingest", END),
});

import { END, START, StateGraph } from "@langchain/langgraph";
import { z } from "zod";
import {
  defineIngestion,
  definePipeline,
  Emitted,
  Entity,
  Ingested,
  type Pipeline,
  packVector,
} from "../../src/pipeline.ts";

/** A base ingestion of one chunk, quick and without a model server, for tests of the runtime. */
export const plainBase = defineIngestion({
  name: "base",
  version: 1,
  trigger: { on: "entity.changed" },
  graph: ({ embed }) =>
    new StateGraph({ state: Entity.extend(Ingested.shape), input: Entity, output: Ingested })
      .addNode(
        "ingest",
        async ({ text, title }) => {
          if (text === "") return { kind: "empty" as const, language: null, chunks: [], vectors: [] };
          const chunk = {
            path: title,
            text,
            start: 0,
            end: text.length,
            tokens: 1,
            content_kind: "narration" as const,
          };
          const [vector = []] = await embed([`[H] ${title}\n${text}`]);
          return {
            kind: "narration" as const,
            language: "en",
            chunks: [chunk],
            vectors: [packVector(vector)],
          };
        },
        { input: Entity },
      )
      .addEdge(START, "ingest")
      .addEdge("ingest", END),
});

export const Echo = z.object({ said: z.string(), events: z.array(Emitted).optional() });
type Echo = z.infer<typeof Echo>;

/** An enricher that answers what `answer` says. */
export function echo(
  answer: (entity: Entity, signal: AbortSignal | undefined) => Promise<unknown> | unknown,
  definition: Partial<Omit<Parameters<typeof definePipeline<typeof Echo>>[0], "graph" | "output">> = {},
): Pipeline {
  return definePipeline({
    name: "echo",
    version: 1,
    local: "echo",
    trigger: { on: "entity.ingested" },
    retries: { attempts: 3, base: 1, most: 5 },
    ...definition,
    output: Echo,
    graph: () =>
      new StateGraph({ state: Entity.extend(Echo.shape), input: Entity, output: Echo })
        .addNode("say", async (entity, { signal }) => (await answer(entity, signal)) as Echo, {
          input: Entity,
        })
        .addEdge(START, "say")
        .addEdge("say", END),
  }) as unknown as Pipeline;
}

import { END, interrupt, Send, START, StateGraph } from "@langchain/langgraph";
import { registry } from "@langchain/langgraph/zod";
import { z } from "zod";
import {
  defineIngestion,
  definePipeline,
  Emitted,
  Entity,
  Ingested,
  type Pipeline,
  packVector,
  type Tools,
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

const Echo = z.object({ said: z.string(), events: z.array(Emitted).optional() });
type Echo = z.infer<typeof Echo>;

type Definition = Parameters<typeof definePipeline<typeof Echo>>[0];
export type Given = Partial<Omit<Definition, "graph" | "output">>;

/** An enricher of every ingested entity, tried three times without waiting long. */
function enricher(definition: Given, graph: Definition["graph"]): Pipeline {
  return definePipeline({
    name: "echo",
    version: 1,
    local: "echo",
    trigger: { on: "entity.ingested" },
    retries: { attempts: 3, base: 1, most: 5 },
    ...definition,
    output: Echo,
    graph,
  });
}

/** An enricher that answers what `answer` says. */
export function echo(
  answer: (entity: Entity, signal: AbortSignal | undefined, tools: Tools) => Promise<unknown> | unknown,
  definition: Given = {},
): Pipeline {
  return enricher(definition, (tools) =>
    new StateGraph({ state: Entity.extend(Echo.shape), input: Entity, output: Echo })
      .addNode("say", async (entity, { signal }) => (await answer(entity, signal, tools)) as Echo, {
        input: Entity,
      })
      .addEdge(START, "say")
      .addEdge("say", END),
  );
}

export type Step = "one" | "two" | "three";

const Stepping = Entity.extend(Echo.shape);

/** An enricher of three steps, each of which says its name once `does` has let it. */
export function threeSteps(
  does: (step: Step, entity: Entity, signal: AbortSignal | undefined) => Promise<unknown> | unknown,
  definition: Given = {},
): Pipeline {
  const step =
    (name: Step) =>
    async (entity: Entity & { said?: string }, { signal }: { signal?: AbortSignal }) => {
      await does(name, entity, signal);
      return { said: [entity.said, name].filter(Boolean).join(" ") };
    };
  return enricher(definition, () =>
    new StateGraph({ state: Stepping, input: Entity, output: Echo })
      .addNode("one", step("one"))
      .addNode("two", step("two"))
      .addNode("three", step("three"))
      .addEdge(START, "one")
      .addEdge("one", "two")
      .addEdge("two", "three")
      .addEdge("three", END),
  );
}

const Visiting = Entity.extend(Echo.shape).extend({
  heard: z.array(z.string()).register(registry, {
    reducer: { fn: (heard: readonly string[], more: readonly string[]) => [...heard, ...more] },
    default: () => [],
  }),
});
const Visit = z.object({ item: z.string() });

/** An enricher that visits each word of the text at once and says, sorted, what it heard. */
export function visits(hear: (item: string) => Promise<string> | string, definition: Given = {}): Pipeline {
  return enricher(definition, () =>
    new StateGraph({ state: Visiting, input: Entity, output: Echo })
      .addNode("set out", () => ({}))
      .addNode("visit", async ({ item }) => ({ heard: [await hear(item)] }), { input: Visit })
      .addNode("come back", ({ heard }) => ({ said: heard.toSorted().join(" ") }))
      .addEdge(START, "set out")
      .addConditionalEdges(
        "set out",
        ({ text }) => text.split(" ").map((item) => new Send("visit", { item })),
        ["visit"],
      )
      .addEdge("visit", "come back")
      .addEdge("come back", END),
  );
}

/** An enricher that asks a person, and says what `tell` makes of what it was told. */
export function asking(question: unknown, definition: Given & Telling = {}): Pipeline {
  const { before = () => {}, tell = String, answerSchema: responseSchema, ...given } = definition;
  return enricher(given, () =>
    new StateGraph({ state: Entity.extend(Echo.shape), input: Entity, output: Echo })
      .addNode("prepare", async () => {
        await before();
        return {};
      })
      .addNode("ask", async () => {
        const told: unknown = interrupt(question, responseSchema ? { responseSchema } : {});
        return { said: await tell(told) };
      })
      .addEdge(START, "prepare")
      .addEdge("prepare", "ask")
      .addEdge("ask", END),
  );
}

export type Telling = {
  /** Done in a step of its own, before it asks. */
  readonly before?: () => Promise<void> | void;
  readonly tell?: (told: unknown) => Promise<string> | string;
  /** What an answer must be. */
  readonly answerSchema?: z.ZodType;
};

/** An enricher that asks a person twice in one step, and does `between` before, between and after. */
export function askingTwice(
  definition: Given = {},
  between: () => Promise<unknown> | unknown = () => {},
): Pipeline {
  return enricher(definition, () =>
    new StateGraph({ state: Entity.extend(Echo.shape), input: Entity, output: Echo })
      .addNode("ask", async ({ title }) => {
        await between();
        const who: string = interrupt(`Who is in ${title}?`);
        await between();
        const then: string = interrupt(`And then, in ${title}?`);
        await between();
        return { said: [who, then].join(", ") };
      })
      .addEdge(START, "ask")
      .addEdge("ask", END),
  );
}

/** An enricher that asks about each word of the text at once. */
export function askingAll(definition: Given = {}): Pipeline {
  return visits((word) => String(interrupt(word)), definition);
}

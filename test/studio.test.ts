import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { END, START, StateGraph } from "@langchain/langgraph";
import { type AssistantGraph, Client, type GraphSchema } from "@langchain/langgraph-sdk";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { z } from "zod";
import { definePipeline, Entity, Passage, type Pipeline } from "../src/pipeline.ts";
import { loadRegistry } from "../src/registry.ts";
import { type TestDatabase, testDatabase } from "./support/database.ts";
import { type DevServer, startDevServer } from "./support/dev-server.ts";
import { runtime, startWorker, takeScene } from "./support/runtime.ts";

const pipelines = [...(await loadRegistry("langgraph.json")).values()];

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});

describe("LangGraph's dev server", () => {
  let server: DevServer;
  let client: Client;
  beforeAll(async () => {
    server = await startDevServer({ PATH: process.env.PATH, DATABASE_URL: database.url });
    client = new Client({ apiUrl: server.url, apiKey: null });
  }, 60_000);
  afterAll(async () => {
    await server?.stop();
  });

  test("lists every graph of langgraph.json", async () => {
    const assistants = await client.assistants.search();

    expect(assistants.map(({ graph_id }) => graph_id).sort()).toEqual(
      pipelines.map(({ name }) => name).sort(),
    );
  });

  describe.each(pipelines)("$name", (pipeline) => {
    test("is drawn with the nodes of its graph", async () => {
      const drawn: AssistantGraph = await client.assistants.getGraph(pipeline.name);

      expect(drawn.nodes.map(({ id }) => id).sort()).toEqual(
        [...(await nodesOf(pipeline)), "__end__"].sort(),
      );
      expect(drawn.edges).toContainEqual(expect.objectContaining({ target: "__end__" }));
    });

    test("shows that it takes an entity and answers what it promises", async () => {
      const schemas: GraphSchema = await client.assistants.getSchemas(pipeline.name);

      expect(fieldsOf(schemas.input_schema)).toEqual(Object.keys(Entity.shape).sort());
      expect(fieldsOf(schemas.output_schema)).toEqual(Object.keys(pipeline.output.shape).sort());
      expect(fieldsOf(schemas.state_schema)).toEqual(
        expect.arrayContaining([...Object.keys(Entity.shape), ...Object.keys(pipeline.output.shape)]),
      );
    });

    test("runs on its first example and answers what it promises", async () => {
      const answer = await client.runs.wait(null, pipeline.name, { input: await exampleOf(pipeline) });

      expect(Object.keys(pipeline.output.parse(answer)).length).toBeGreaterThan(0);
    });
  });
});

describe("the tools of Studio", () => {
  const read = () => reading.compile().then((graph) => graph.invoke(entity));
  let entity: Entity;
  beforeAll(async () => {
    const context = runtime(database);
    await using worker = startWorker(context, database);
    entity = Entity.parse({ ...(await takeScene(context)), version: 1 });
    await takeScene(context, { text: "Mara belongs to another tenant here." });
    await worker.untilIdle();
  });
  afterAll(() => {
    vi.unstubAllEnvs();
  });

  test("read the passages of the tenant that the run's input names, whatever the asking node sees", async () => {
    vi.stubEnv("DATABASE_URL", database.url);

    expect(await read()).toMatchObject({ passages: [{ text: entity.text, source_id: entity.source_id }] });
  });

  test("find nothing, and start nothing, where no Postgres runs", async () => {
    const home = join("/nowhere", randomUUID());
    vi.stubEnv("DATABASE_URL", "");
    vi.stubEnv("LOREGRAPH_HOME", home);

    expect(await read()).toMatchObject({ passages: [], previous: null });
    expect(existsSync(home)).toBe(false);
  });

  test("say that the Postgres of DATABASE_URL does not answer", async () => {
    vi.stubEnv("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none");

    await expect(read()).rejects.toThrow("cannot connect to Postgres at 127.0.0.1:1/none");
  });
});

const Read = z.object({ passages: z.array(Passage), previous: z.unknown() });

/** Asks from a node that sees no more than the title. */
const reading = definePipeline({
  name: "reading",
  version: 1,
  trigger: { on: "entity.ingested" },
  output: Read,
  graph: ({ read }) =>
    new StateGraph({ state: Entity.extend(Read.shape), input: Entity, output: Read })
      .addNode(
        "read",
        async () => ({
          passages: [...(await read.passages(["Mara"]))],
          previous: (await read.previous()) ?? null,
        }),
        { input: Entity.pick({ title: true }) },
      )
      .addEdge(START, "read")
      .addEdge("read", END),
});

async function nodesOf(pipeline: Pipeline): Promise<readonly string[]> {
  return Object.keys((await pipeline.compile()).nodes);
}

function fieldsOf(schema: GraphSchema["input_schema"]): readonly string[] {
  return Object.keys(schema?.properties ?? {}).sort();
}

/** The first line of the graph's examples.jsonl; a scene where it has none. */
async function exampleOf({ name }: Pipeline): Promise<Record<string, unknown>> {
  const file = join("graphs", name, "examples.jsonl");
  if (!existsSync(file)) return { ...scene, source_id: randomUUID() };
  const [line = ""] = (await readFile(file, "utf8")).split("\n");
  return z.object({ input: z.record(z.string(), z.unknown()) }).parse(JSON.parse(line)).input;
}

const scene = {
  tenant_id: randomUUID(),
  source_type: "scene",
  version: 1,
  title: "The pier",
  text: "“You came,” said Mara. The sea was grey.",
};

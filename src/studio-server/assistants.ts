import { getInputTypeSchema, getOutputTypeSchema, getStateTypeSchema } from "@langchain/langgraph/zod/schema";
import { v5 } from "uuid";
import { z } from "zod";
import { LoregraphError } from "../errors.ts";
import type { App } from "../http/services.ts";
import { Entity, type Pipeline } from "../pipeline.ts";
import type { Registry } from "../registry.ts";
import { graphToLookAt } from "./look.ts";
import { pageHeaders } from "./page.ts";
import type { StudioServices } from "./services.ts";

/** The namespace by which LangGraph's own server makes an assistant's id of its graph's name. */
const namespace = "6ba7b821-9dad-11d1-80b4-00c04fd430c8";

/** The id of a pipeline as an assistant: always the same one. */
export function assistantIdOf(pipeline: string): string {
  return v5(pipeline, namespace);
}

/** The pipeline that is meant by its name or by its assistant's id. Throws NOT_FOUND. */
function pipelineOf(registry: Registry, assistant_id: string): Pipeline {
  const named = registry.get(assistant_id);
  const found = named ?? [...registry.values()].find(({ name }) => assistantIdOf(name) === assistant_id);
  if (found) return found;
  throw new LoregraphError(
    "NOT_FOUND",
    `expected an assistant of ${[...registry.keys()].join(", ")}, got: ${assistant_id.slice(0, 100)}`,
  );
}

const Of = z.object({ id: z.string() });
const Search = z.looseObject({
  graph_id: z.string().nullish(),
  name: z.string().nullish(),
  limit: z.int().min(1).max(1_000).default(10),
  offset: z.int().min(0).default(0),
});
const flag = z.union([z.stringbool(), z.coerce.number().transform((depth) => depth > 0)]);

/** The pipelines of `langgraph.json`, as the assistants that LangGraph's protocol knows. */
export function assistantRoutes(app: App, services: StudioServices): void {
  const { registry } = services;
  const since = new Date().toISOString();

  app.post("/assistants/search", { schema: { body: Search } }, async ({ body }, reply) => {
    const all = [...registry.values()].filter(
      ({ name }) => name === (body.graph_id ?? name) && name.includes(body.name ?? ""),
    );
    reply.headers(pageHeaders(body, all.length));
    return all.slice(body.offset, body.offset + body.limit).map((pipeline) => assistantOf(pipeline, since));
  });

  app.post("/assistants/count", async () => registry.size);

  app.get("/assistants/:id", { schema: { params: Of } }, async ({ params: { id } }) =>
    assistantOf(pipelineOf(registry, id), since),
  );

  app.get(
    "/assistants/:id/graph",
    { schema: { params: Of, querystring: z.object({ xray: flag.optional() }) } },
    async ({ params: { id }, query: { xray = false } }) => {
      const graph = graphToLookAt(services, pipelineOf(registry, id));
      return (await graph.getGraphAsync({ xray })).toJSON();
    },
  );

  app.get("/assistants/:id/schemas", { schema: { params: Of } }, async ({ params: { id } }) => {
    const pipeline = pipelineOf(registry, id);
    return { graph_id: pipeline.name, ...schemasOf(services, pipeline) };
  });

  app.get(
    "/assistants/:id/subgraphs",
    { schema: { params: Of, querystring: z.object({ recurse: flag.optional() }) } },
    async ({ params: { id }, query: { recurse = false } }) => {
      const subgraphs: Record<string, unknown> = {};
      const graph = graphToLookAt(services, pipelineOf(registry, id));
      for await (const [name] of graph.getSubgraphsAsync(undefined, recurse))
        subgraphs[name] = { graph_id: name };
      return subgraphs;
    },
  );

  app.post("/assistants/:id/versions", { schema: { params: Of } }, async ({ params: { id } }) => [
    assistantOf(pipelineOf(registry, id), since),
  ]);
}

function assistantOf({ name, version, kind, trigger }: Pipeline, since: string) {
  return {
    assistant_id: assistantIdOf(name),
    graph_id: name,
    name,
    description: `runs on ${trigger.on}`,
    config: {},
    context: {},
    metadata: { created_by: "system", pipeline: name, version, kind },
    version,
    created_at: since,
    updated_at: since,
  };
}

function schemasOf(services: StudioServices, pipeline: Pipeline) {
  const graph = graphToLookAt(services, pipeline);
  return {
    input_schema: getInputTypeSchema(graph) ?? z.toJSONSchema(Entity, { io: "input" }),
    output_schema: getOutputTypeSchema(graph) ?? z.toJSONSchema(pipeline.output),
    state_schema: getStateTypeSchema(graph) ?? null,
    config_schema: null,
    context_schema: null,
  };
}

import type { FastifyBaseLogger } from "fastify";
import { z } from "zod";
import { capPipeline, PipelineControls, pausePipeline, resumePipeline } from "../../ledger/controls.ts";
import type { Pipeline } from "../../pipeline.ts";
import { draw } from "../drawing.ts";
import { PipelineView, viewPipelines } from "../pipeline-view.ts";
import { found } from "../problem.ts";
import type { App, Services } from "../services.ts";
import { Page, shown, Text, Time } from "../shapes.ts";

const DrawnPipeline = PipelineView.extend({
  drawing: z.string().nullable().describe("Mermaid; null where its graph cannot be built without a model"),
}).meta({ id: "DrawnPipeline" });

const Controls = PipelineControls.extend({ paused_at: Time.nullable() }).meta({ id: "PipelineControls" });

const Named = z.object({ name: Text.max(100) });
const Cap = z.strictObject({
  max_running: z.int().min(0).max(2_147_483_647).nullable().describe("null for no limit"),
});

export function pipelineRoutes(app: App, { pool, registry }: Services): void {
  const tags = ["pipelines"];
  const config = { scope: "admin" } as const;

  app.get(
    "/admin/pipelines",
    {
      config,
      schema: {
        summary: "The pipelines: what each is, what waits and what ended lately",
        tags,
        querystring: z.strictObject({}),
        response: { 200: Page(PipelineView) },
      },
    },
    async () => ({ items: await viewPipelines(pool, [...registry.values()]), next: null }),
  );

  app.get(
    "/admin/pipelines/:name",
    {
      config,
      schema: {
        summary: "A pipeline, with the drawing of its graph",
        tags,
        params: Named,
        response: { 200: DrawnPipeline },
      },
    },
    async ({ params: { name }, log }) => {
      const pipeline = named(name);
      const [view] = await viewPipelines(pool, [pipeline]);
      return { ...found(view, name), drawing: await drawn(pipeline, log) };
    },
  );

  app.post(
    "/admin/pipelines/:name/pause",
    {
      config,
      schema: {
        summary: "Start none of its runs; those that run go on",
        tags,
        params: Named,
        response: { 200: Controls },
      },
    },
    async ({ params }) => shown(await pausePipeline(pool, named(params.name).name)),
  );

  app.post(
    "/admin/pipelines/:name/resume",
    {
      config,
      schema: { summary: "Start its runs again", tags, params: Named, response: { 200: Controls } },
    },
    async ({ params }) => shown(await resumePipeline(pool, named(params.name).name)),
  );

  app.patch(
    "/admin/pipelines/:name",
    {
      config,
      schema: {
        summary: "Bound how many of its runs run at once",
        tags,
        params: Named,
        body: Cap,
        response: { 200: Controls },
      },
    },
    async ({ params, body }) => shown(await capPipeline(pool, named(params.name).name, body.max_running)),
  );

  function named(name: string): Pipeline {
    return found(registry.get(name), `pipeline ${name}; there are ${[...registry.keys()].join(", ")}`);
  }
}

/** What is written by researchers may ask for a model where it is built: that is theirs, and no failure of ours. */
async function drawn(pipeline: Pipeline, log: FastifyBaseLogger): Promise<string | null> {
  try {
    return await draw(pipeline);
  } catch (error) {
    const kind = error instanceof Error ? error.name : typeof error;
    log.warn({ pipeline: pipeline.name, kind }, "graph-not-drawn");
    return null;
  }
}

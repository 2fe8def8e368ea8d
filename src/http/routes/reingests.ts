import { setTimeout as delay } from "node:timers/promises";
import { z } from "zod";
import { LoregraphError } from "../../errors.ts";
import { Plan, planReingest } from "../../reingest/plan.ts";
import { Progress, progressOf } from "../../reingest/progress.ts";
import { listReingests, Reingest, type ReingestKey, readReingest, viewOf } from "../../reingest/reingest.ts";
import { Filters, ReingestRequest } from "../../reingest/request.ts";
import { startReingest } from "../../reingest/start.ts";
import { hasEnded, ReingestStatus } from "../../reingest/states.ts";
import { cancelReingest, pauseReingest, resumeReingest } from "../../reingest/steer.ts";
import { pageOf, readCursor } from "../cursor.ts";
import { IdempotencyKey, idempotencyKeyOf } from "../idempotency.ts";
import type { App, Services } from "../services.ts";
import { OfOne, OfTenant, Page, PageQuery, shown, Time } from "../shapes.ts";
import { openStreams, type Stream, streamRoute } from "../stream.ts";

const times = { created_at: Time, started_at: Time.nullable(), finished_at: Time.nullable() };

const ShownReingest = Reingest.omit({ cursor: true, event_id: true, request: true })
  .extend({ ...times, produced_at: Time.nullable(), filters: Filters })
  .meta({ id: "Reingest" });

const ShownProgress = Progress.extend(times).meta({ id: "ReingestProgress" });

const Request = ReingestRequest.extend({
  key: IdempotencyKey.optional().describe("The same as the header Idempotency-Key"),
});

const Accepted = z
  .object({
    id: z.guid(),
    status: ReingestStatus,
    counts: Plan.shape.totals.describe("What was counted when it was made"),
    filters: Filters.describe("The request as it was understood"),
  })
  .meta({ id: "ReingestAccepted" });

const Limits = ReingestRequest.pick({
  max_cost_usd: true,
  max_tokens: true,
  max_runs_per_minute: true,
});

/** How often a stream looks whether something has changed, in milliseconds. */
const lookMs = 500;

export function reingestRoutes(app: App, services: Services): void {
  const { pool } = services;
  const tags = ["reingests"];

  app.post(
    "/admin/tenants/:tenant_id/reingest",
    {
      config: { scope: "write" },
      schema: {
        summary: "Run a tenant again, or a part of it; with dry_run, only plan it",
        tags,
        params: OfTenant,
        body: Request,
        response: { 200: Plan.describe("The plan: nothing was enqueued"), 202: Accepted },
      },
    },
    async (request, reply) => {
      const { key = idempotencyKeyOf(request), ...wanted } = request.body;
      const { tenant_id } = request.params;
      assertSource(services, wanted);
      if (wanted.dry_run) return reply.code(200).send(await planReingest(services, tenant_id, wanted));
      const { reingest, counts, filters } = await startReingest(services, tenant_id, wanted, { key });
      return reply.code(202).send({ id: reingest.id, status: reingest.status, counts, filters });
    },
  );

  app.get(
    "/admin/tenants/:tenant_id/reingests",
    {
      config: { scope: "read" },
      schema: {
        summary: "A tenant's reingests, newest first",
        tags,
        params: OfTenant,
        querystring: PageQuery.extend({ status: ReingestStatus.optional() }),
        response: { 200: Page(ShownReingest) },
      },
    },
    async ({ params: { tenant_id }, query: { limit, cursor, status } }) => {
      const before = readCursor(z.guid(), cursor);
      const rows = await listReingests(pool, { tenant_id, status, before, limit: limit + 1 });
      const { items, next } = pageOf(rows, limit, ({ id }) => id);
      return { items: items.map(view), next };
    },
  );

  app.get(
    "/admin/tenants/:tenant_id/reingests/:id",
    {
      config: { scope: "read" },
      schema: {
        summary: "A reingest with its progress",
        tags,
        params: OfOne,
        response: { 200: ShownReingest.extend({ progress: ShownProgress }) },
      },
    },
    async ({ params }) => {
      const [reingest, progress] = await Promise.all([readReingest(pool, params), progressOf(pool, params)]);
      return { ...view(reingest), progress: shown(progress) };
    },
  );

  const steer = (verb: string, summary: string, does: (key: ReingestKey) => Promise<Reingest>) =>
    app.post(
      `/admin/tenants/:tenant_id/reingests/:id/${verb}`,
      {
        config: { scope: "write" },
        schema: { summary, tags, params: OfOne, response: { 200: ShownReingest } },
      },
      async ({ params }) => view(await does(params)),
    );
  steer("pause", "Hold a reingest back: none of its runs is started any more", (key) =>
    pauseReingest(services, key),
  );
  steer("cancel", "End a reingest: what waits is cancelled, what runs is aborted", (key) =>
    cancelReingest(services, key),
  );

  app.post(
    "/admin/tenants/:tenant_id/reingests/:id/resume",
    {
      config: { scope: "write" },
      schema: {
        summary: "Let a paused reingest go on, under higher limits where some are given",
        tags,
        params: OfOne,
        body: Limits.nullish(),
        response: { 200: ShownReingest },
      },
    },
    async ({ params, body }) => view(await resumeReingest(services, params, body ?? {})),
  );

  const open = openStreams(app);
  app.get(
    "/admin/tenants/:tenant_id/reingests/:id/progress",
    {
      ...streamRoute,
      config: { scope: "read" },
      schema: {
        summary: "Follow a reingest to its end",
        description:
          "Server-sent events: `progress` at once and after each change, at most twice a second; `end` with the last one, after which the stream ends.",
        tags,
        params: OfOne,
        response: {
          200: { description: "Progress", content: { "text/event-stream": { schema: z.string() } } },
        },
      },
    },
    async ({ params }, reply) => {
      const first = await progressOf(pool, params); // who asks for what there is not gets a 404, and no stream
      const stream = open(reply, params.tenant_id);
      follow(stream, first, () => progressOf(pool, params)).catch((error: unknown) => {
        services.log.warn(
          { kind: error instanceof Error ? error.name : typeof error },
          "progress-stream-failed",
        );
        stream.end(); // its client comes back
      });
      return reply;
    },
  );
}

function assertSource({ hasMainService = false }: Services, { source }: ReingestRequest): void {
  if (source === "local" || hasMainService) return;
  const message = "source: this server knows no main service; LOREGRAPH_MAIN_SERVICE_URL names one";
  throw new LoregraphError("INPUT_INVALID", message);
}

function view(reingest: Reingest) {
  return shown(viewOf(reingest));
}

/** Sends each change, and the end. A client that is behind is sent what is then the newest. */
async function follow(stream: Stream, first: Progress, look: () => Promise<Progress>): Promise<void> {
  for (let progress = first, sent = ""; !stream.signal.aborted; progress = await look()) {
    const { eta_seconds: _, runs_per_minute: __, decisions_per_minute: ___, ...told } = progress;
    const data = JSON.stringify(told);
    if (data !== sent) stream.send({ event: hasEnded(progress.status) ? "end" : "progress", data: progress });
    sent = data;
    if (hasEnded(progress.status)) return stream.end();
    await stream.room();
    await delay(lookMs, undefined, { signal: stream.signal }).catch(() => {}); // its end ends the loop
  }
}

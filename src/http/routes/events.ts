import { z } from "zod";
import { contendedTransaction } from "../../db.ts";
import { SubjectType } from "../../pipeline.ts";
import { eventsAfter, StoredEvent } from "../../store/events.ts";
import { redeliver } from "../../webhooks/redeliver.ts";
import { openFeeds } from "../feed.ts";
import type { App, Services } from "../services.ts";
import { Id, OfTenant, Page, Text, Time } from "../shapes.ts";
import { openStreams, streamRoute } from "../stream.ts";

const EventId = z.coerce.number().int().min(0).max(Number.MAX_SAFE_INTEGER);
const EventName = Text.min(1).max(200);

const Event = StoredEvent.extend({
  metadata: z.record(z.string(), z.unknown()),
  id: z.int(),
  occurred_at: Time,
}).meta({
  id: "Event",
});

const PageQuery = z.strictObject({
  after: EventId.optional().describe(
    "The id of an event: the page begins after it. Defaults to the first page.",
  ),
  order: z.enum(["asc", "desc"]).default("asc").describe("`desc` begins with the newest"),
  event: EventName.optional().describe("Only events of this name"),
  source_type: SubjectType.optional(),
  source_id: Id.optional(),
  limit: z.coerce.number().int().min(1).max(500).default(100),
});

const EventNames = z.union([EventName, z.array(EventName).max(50)]);

/** What happened to a tenant's content: read as pages, or as a stream that goes on where it was cut off. */
export function eventRoutes(
  app: App,
  services: Pick<Services, "pool" | "log">,
  feeds = openFeeds(services),
): void {
  const { pool } = services;
  app.get(
    "/tenants/:tenant_id/events",
    {
      config: { scope: "read" },
      schema: {
        summary: "List events, in the order in which they became true",
        description:
          "`next`, where there is one, is the next page's `after`. A page that matches few events may hold less than `limit`, or nothing, and still have a next one.",
        tags: ["events"],
        params: OfTenant,
        querystring: PageQuery,
        response: { 200: Page(Event) },
      },
    },
    async ({ params, query: { after, order, limit, ...filter } }) => {
      const { items, next } = await eventsAfter(pool, params.tenant_id, after, filter, limit, order);
      return { items: [...items], next: next === undefined ? null : String(next) };
    },
  );

  const open = openStreams(app);
  app.get(
    "/tenants/:tenant_id/events/stream",
    {
      ...streamRoute,
      config: { scope: "read" },
      schema: {
        summary: "Follow events as they come",
        description:
          "Server-sent events: `id` is the event's id, `event` its name, `data` the event. Begins after `Last-Event-ID`, else after `after`, else now.",
        tags: ["events"],
        params: OfTenant,
        querystring: z.strictObject({
          after: EventId.optional(),
          event: EventNames.optional().describe("Only events of these names"),
        }),
        headers: z.looseObject({ "last-event-id": EventId.optional() }),
        response: {
          200: { description: "Events", content: { "text/event-stream": { schema: z.string() } } },
        },
      },
    },
    async ({ params: { tenant_id }, query: { after, event }, headers }, reply) => {
      const known = headers["last-event-id"] ?? after;
      const names = event === undefined ? undefined : [event].flat();
      await feeds.follow({ tenant_id, after: known, names }, () => open(reply, tenant_id));
      return reply;
    },
  );

  app.post(
    "/tenants/:tenant_id/events/:id/redeliver",
    {
      config: { scope: "write" },
      schema: {
        summary: "Deliver an event again",
        description: "To the enabled webhooks that want it, or to the one that is named.",
        tags: ["events"],
        params: OfTenant.extend({ id: EventId }),
        body: z.strictObject({ webhook_id: Id.optional() }).nullish(),
        response: { 202: z.object({ webhooks: z.int().describe("How many webhooks will get it") }) },
      },
    },
    async ({ params: { tenant_id, id }, body }, reply) => {
      const webhooks = await contendedTransaction(pool, (db) =>
        redeliver(db, tenant_id, id, body?.webhook_id),
      );
      return reply.code(202).send({ webhooks });
    },
  );
}

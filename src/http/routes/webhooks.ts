import { z } from "zod";
import { transaction } from "../../db.ts";
import { LoregraphError } from "../../errors.ts";
import { runtimeEvents } from "../../pipeline.ts";
import type { Registry } from "../../registry.ts";
import {
  changeWebhook,
  createWebhook,
  foundWebhook,
  listWebhooks,
  rotateSecret,
  Webhook,
} from "../../store/webhooks.ts";
import { holdsPrivateAddress } from "../../webhooks/address.ts";
import { deleteWebhook, disableWebhook, enableWebhook } from "../../webhooks/life.ts";
import { openSender, type Sending } from "../../webhooks/send.ts";
import { tryWebhook } from "../../webhooks/try.ts";
import { pageOf, readCursor } from "../cursor.ts";
import type { App, Services } from "../services.ts";
import { Id, OfOne, OfTenant, Page, PageQuery, shown, Text, Time } from "../shapes.ts";

const ShownWebhook = Webhook.extend({
  created_at: Time,
  failing_since: Time.nullable().describe("Since when every delivery to it failed"),
  disabled_at: Time.nullable(),
  owed: z.int().describe("How many deliveries it is owed; at most 10,000 are counted"),
}).meta({ id: "Webhook" });

const Secret = z.string().describe("Verifies signatures as Standard Webhooks has it; shown this once");
const NewlyMade = ShownWebhook.extend({ secret: Secret }).meta({ id: "NewWebhook" });

const Url = Text.max(2_000)
  .refine(isPostable, "expected an http or https URL without user, password and fragment")
  .describe("Where events are posted");
const Events = z
  .array(Text.max(100))
  .min(1)
  .max(100)
  .nullable()
  .describe("The names of the events that it gets; null for all");
const Description = Text.max(1_000);

const Creation = z.strictObject({
  url: Url,
  events: Events.default(null),
  description: Description.default(""),
});
const Change = z
  .strictObject({ url: Url, events: Events, description: Description })
  .partial()
  .refine((change) => Object.keys(change).length > 0, "expected something to change");

const Trial = z.object({
  delivered: z.boolean(),
  status: z.int().nullable().describe("What the subscriber answered, where it did"),
  error: z.string().nullable(),
  ms: z.int(),
});

const tags = ["webhooks"];
const path = "/tenants/:tenant_id/webhooks";

/** Subscribers to a tenant's events: docs/webhooks.md. */
export function webhookRoutes(app: App, services: Services): void {
  const lent = { ...services, webhooks: services.webhooks ?? { timeoutMs: 10_000, toPrivate: false } };
  readRoutes(app, lent);
  writeRoutes(app, lent);
  lifeRoutes(app, lent);
}

type Lent = Services & { readonly webhooks: Sending };

function readRoutes(app: App, { pool }: Services): void {
  app.get(
    path,
    {
      config: { scope: "read" },
      schema: {
        summary: "The tenant's webhooks, oldest first",
        tags,
        params: OfTenant,
        querystring: PageQuery,
        response: { 200: Page(ShownWebhook) },
      },
    },
    async ({ params, query: { limit, cursor } }) => {
      const after = readCursor(z.guid(), cursor);
      const rows = await listWebhooks(pool, params.tenant_id, { after, limit: limit + 1 });
      return shown(pageOf(rows, limit, ({ id }) => id));
    },
  );

  app.get(
    `${path}/:id`,
    {
      config: { scope: "read" },
      schema: {
        summary: "A webhook: how it fares and what it is owed",
        tags,
        params: OfOne,
        response: { 200: ShownWebhook },
      },
    },
    async ({ params: { tenant_id, id } }) => shown(await foundWebhook(pool, tenant_id, id)),
  );
}

function writeRoutes(app: App, services: Lent): void {
  const { pool } = services;
  app.post(
    path,
    {
      config: { scope: "write" },
      schema: {
        summary: "Subscribe a URL to the tenant's events; the answer holds its secret",
        tags,
        params: OfTenant,
        body: Creation,
        response: { 201: NewlyMade },
      },
    },
    async ({ params, body }, reply) => {
      assertSendable(body, services);
      const made = await transaction(pool, (db) => createWebhook(db, params.tenant_id, body));
      return reply.code(201).send(shown(made));
    },
  );

  app.patch(
    `${path}/:id`,
    {
      config: { scope: "write" },
      schema: {
        summary: "Change where a webhook's events go, which they are, or its description",
        tags,
        params: OfOne,
        body: Change,
        response: { 200: ShownWebhook },
      },
    },
    async ({ params: { tenant_id, id }, body }) => {
      assertSendable(body, services);
      return shown(await changeWebhook(pool, tenant_id, id, body));
    },
  );

  app.delete(
    `${path}/:id`,
    {
      config: { scope: "write" },
      schema: {
        summary: "Delete a webhook, with all that it is owed",
        tags,
        params: OfOne,
        response: { 204: z.null().describe("It is gone") },
      },
    },
    async ({ params: { tenant_id, id } }, reply) => {
      await deleteWebhook(pool, tenant_id, id);
      return reply.code(204).send(null);
    },
  );
}

function lifeRoutes(app: App, { pool, registry, webhooks }: Lent): void {
  const send = openSender(webhooks);
  const onOne = (summary: string) => ({
    config: { scope: "write" as const },
    schema: { summary, tags, params: OfOne, response: { 200: ShownWebhook } },
  });

  app.post(
    `${path}/:id/enable`,
    onOne("Enable a webhook again: it gets what it was owed, and new events"),
    async ({ params: { tenant_id, id } }) => shown(await enableWebhook(pool, tenant_id, id)),
  );

  app.post(
    `${path}/:id/disable`,
    onOne("Disable a webhook: it keeps what it is owed, and is owed nothing new"),
    async ({ params: { tenant_id, id } }) => shown(await disableWebhook(pool, registry, tenant_id, id)),
  );

  app.post(
    `${path}/:id/rotate`,
    {
      config: { scope: "write" },
      schema: {
        summary: "Give a webhook a new secret, which signs from now on",
        tags,
        params: OfOne,
        response: { 200: z.object({ id: Id, secret: Secret }) },
      },
    },
    async ({ params: { tenant_id, id } }) => ({ id, secret: await rotateSecret(pool, tenant_id, id) }),
  );

  app.post(
    `${path}/:id/test`,
    {
      config: { scope: "write" },
      schema: {
        summary: "Send one `webhook.test` event to a webhook and tell what it answered",
        tags,
        params: OfOne,
        response: { 200: Trial },
      },
    },
    async ({ params: { tenant_id, id } }) => await tryWebhook(pool, send, tenant_id, id),
  );
}

function isPostable(text: string): boolean {
  const url = URL.parse(text);
  return url !== null && /^https?:\/\//.test(text) && !(url.username || url.password || url.hash);
}

type Sendable = { readonly url?: string | undefined; readonly events?: readonly string[] | null | undefined };

/** Throws INPUT_INVALID for a URL that names an address where webhooks may not go, and for an event that nobody appends. */
function assertSendable({ url, events }: Sendable, { registry, webhooks }: Lent): void {
  const target = url === undefined ? null : URL.parse(url);
  if (target && !webhooks.toPrivate && holdsPrivateAddress(target))
    throw new LoregraphError(
      "INPUT_INVALID",
      "url: expected a public address, as LOREGRAPH_WEBHOOK_PRIVATE is not true",
    );
  const known = knownEvents(registry);
  const unknown = events?.find((event) => !known.has(event));
  if (unknown === undefined) return;
  const names = [...known].join(", ");
  throw new LoregraphError("INPUT_INVALID", `events: expected some of ${names}, got: ${unknown}`);
}

function knownEvents(registry: Registry): ReadonlySet<string> {
  return new Set([...runtimeEvents, ...[...registry.values()].flatMap(({ emits }) => emits)]);
}

import { z } from "zod";
import { Cause, listCauses } from "../../ledger/causes.ts";
import { redriveDeadLetters } from "../../ledger/redrive.ts";
import type { App, Services } from "../services.ts";
import { OfTenant, Page, shown, Text, Time } from "../shapes.ts";

const ShownCause = Cause.extend({
  error_message: z.string().describe("That of the newest"),
  first_at: Time,
  last_at: Time,
}).meta({ id: "Cause" });

const Which = z.strictObject({
  pipeline: Text.max(100).optional(),
  cause: Text.max(100).optional().describe("An error code"),
});

const Redrive = Which.extend({
  limit: z.int().min(1).max(10_000).default(1_000).describe("The most dead letters to try again"),
});

const Redriven = z.object({ redriven: z.int().describe("How many will be tried again") });

/** Each is there twice: for a tenant, and for all of them at once. */
export function deadLetterRoutes(app: App, { pool }: Services): void {
  const tags = ["dead-letters"];
  const list = { summary: "What failed for good, by pipeline and cause", tags, querystring: Which };
  const redrive = { summary: "Try dead letters again, with all their attempts", tags, body: Redrive };

  app.get(
    "/admin/tenants/:tenant_id/dead-letters",
    {
      config: { scope: "read" },
      schema: { ...list, params: OfTenant, response: { 200: Page(ShownCause) } },
    },
    async ({ params, query }) => await causes({ ...params, ...query }),
  );

  app.get(
    "/admin/dead-letters",
    { config: { scope: "admin" }, schema: { ...list, response: { 200: Page(ShownCause) } } },
    async ({ query }) => await causes(query),
  );

  app.post(
    "/admin/tenants/:tenant_id/dead-letters/redrive",
    {
      config: { scope: "write" },
      schema: { ...redrive, params: OfTenant, response: { 200: Redriven } },
    },
    async ({ params, body }) => await tryAgain({ ...params, ...body }),
  );

  app.post(
    "/admin/dead-letters/redrive",
    { config: { scope: "admin" }, schema: { ...redrive, response: { 200: Redriven } } },
    async ({ body }) => await tryAgain(body),
  );

  async function causes({ cause, ...which }: z.infer<typeof Which> & { tenant_id?: string }) {
    return { items: shown(await listCauses(pool, { ...which, code: cause })), next: null };
  }

  async function tryAgain({ cause, ...which }: z.infer<typeof Redrive> & { tenant_id?: string }) {
    return { redriven: await redriveDeadLetters(pool, { ...which, code: cause }) };
  }
}

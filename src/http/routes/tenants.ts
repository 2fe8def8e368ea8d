import { z } from "zod";
import { Backlog, listBacklogs } from "../../ledger/backlog.ts";
import {
  changeTenant,
  pauseTenant,
  readTenantControls,
  resumeTenant,
  TenantControls,
} from "../../ledger/controls.ts";
import { listTenants, mostPending, TenantSummary } from "../../ledger/tenants.ts";
import { pageOf, readCursor } from "../cursor.ts";
import type { App, Services } from "../services.ts";
import { OfTenant, Page, PageQuery, shown, Text, Time } from "../shapes.ts";

const times = { paused_at: Time.nullable() };
const Controls = TenantControls.extend(times).meta({ id: "TenantControls" });
const Summary = TenantSummary.extend({
  ...times,
  pending: z.int().describe(`Counted up to ${mostPending}`),
}).meta({ id: "TenantSummary" });
const Tenant = Controls.extend({
  backlog: z
    .array(Backlog.extend({ due_since: Time.nullable(), waiting_since: Time.nullable() }))
    .describe("By pipeline"),
}).meta({ id: "Tenant" });

const mostFlags = 100;

const Change = z.strictObject({
  weight: z.number().min(0.01).max(100).optional().describe("Its share of the workers; others have 1"),
  max_running: z.int().min(0).max(2_147_483_647).nullable().optional().describe("null for no limit"),
  flags: z
    .record(Text.min(1).max(100), z.boolean().nullable())
    .refine((flags) => Object.keys(flags).length <= mostFlags, `expected at most ${mostFlags} flags`)
    .optional()
    .describe("Each flag that is named is set; null takes it away"),
});

export function tenantRoutes(app: App, { pool }: Services): void {
  const tags = ["tenants"];

  app.get(
    "/admin/tenants",
    {
      config: { scope: "admin" },
      schema: {
        summary: "The tenants, by id",
        tags,
        querystring: PageQuery,
        response: { 200: Page(Summary) },
      },
    },
    async ({ query: { limit, cursor } }) => {
      const tenants = await listTenants(pool, { limit: limit + 1, after: readCursor(z.guid(), cursor) });
      return shown(pageOf(tenants, limit, ({ tenant_id }) => tenant_id));
    },
  );

  app.get(
    "/admin/tenants/:tenant_id",
    {
      config: { scope: "read" },
      schema: {
        summary: "How a tenant is steered, and what is left to be done for it",
        tags,
        params: OfTenant,
        response: { 200: Tenant },
      },
    },
    async ({ params: { tenant_id } }) => {
      const [controls, backlog] = await Promise.all([
        readTenantControls(pool, tenant_id),
        listBacklogs(pool, tenant_id),
      ]);
      return shown({ ...controls, backlog });
    },
  );

  app.post(
    "/admin/tenants/:tenant_id/pause",
    {
      config: { scope: "write" },
      schema: {
        summary: "Start none of its runs; those that run go on",
        tags,
        params: OfTenant,
        response: { 200: Controls },
      },
    },
    async ({ params }) => shown(await pauseTenant(pool, params.tenant_id)),
  );

  app.post(
    "/admin/tenants/:tenant_id/resume",
    {
      config: { scope: "write" },
      schema: { summary: "Start its runs again", tags, params: OfTenant, response: { 200: Controls } },
    },
    async ({ params }) => shown(await resumeTenant(pool, params.tenant_id)),
  );

  app.patch(
    "/admin/tenants/:tenant_id",
    {
      config: { scope: "admin" },
      schema: {
        summary: "Change its share of the workers, its cap and its feature flags",
        tags,
        params: OfTenant,
        body: Change,
        response: { 200: Controls },
      },
    },
    async ({ params, body }) => shown(await changeTenant(pool, params.tenant_id, body)),
  );
}

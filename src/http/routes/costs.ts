import { z } from "zod";
import { Budget, budgetPeriods, dropBudget, listBudgets, setBudget } from "../../ledger/budgets.ts";
import { Cost, costParts, costsOf, Day, Total, totalCostOf } from "../../ledger/cost.ts";
import type { App, Services } from "../services.ts";
import { Id, OfOne, OfTenant, shown, Text, Time } from "../shapes.ts";

const range = { since: Day.nullable(), until: Day.nullable() };

const CostView = z
  .object({
    tenant_id: z.guid(),
    ...range,
    total: Total,
    items: z.array(Cost).describe("What is not broken down by is null"),
  })
  .meta({ id: "Cost" });

const CostQuery = z.strictObject({
  since: Day.optional().describe("The first day of UTC; absent: ever since"),
  until: Day.optional().describe("The last day of UTC; absent: today"),
  by: z
    .string()
    .regex(/^(pipeline|model|day)(,(pipeline|model|day)){0,2}$/, `expected some of ${costParts.join(",")}`)
    .default("pipeline,model"),
});

const ShownBudget = Budget.extend({
  period_ends_at: Time,
  holds_until: Time.nullable().describe("Until when the work that it covers waits; null while it does not"),
}).meta({ id: "Budget" });

const NewBudget = z.strictObject({
  pipeline: Text.min(1).max(100).optional().describe("Absent: of all pipelines together"),
  reingest_id: Id.optional().describe("Absent: whatever is or is not part of one"),
  per: z.enum(budgetPeriods),
  usd: z.number().min(0).max(1_000_000).describe("0 lets no model be asked"),
});

const tags = ["costs"];
const budgets = "/admin/tenants/:tenant_id/budgets";

/** What a tenant's models cost, and what they may cost: docs/models.md. */
export function costRoutes(app: App, { pool }: Services): void {
  app.get(
    "/tenants/:tenant_id/cost",
    {
      config: { scope: "read" },
      schema: {
        summary: "What the tenant's models cost, and what was saved, by pipeline, model or day",
        tags,
        params: OfTenant,
        querystring: CostQuery,
        response: { 200: CostView },
      },
    },
    async ({ params: { tenant_id }, query: { since, until, by } }) => {
      const parts = costParts.filter((part) => by.split(",").includes(part));
      const [items, total] = await Promise.all([
        costsOf(pool, tenant_id, { since, until }, parts),
        totalCostOf(pool, tenant_id, { since, until }),
      ]);
      return shown({ tenant_id, since: since ?? null, until: until ?? null, total, items });
    },
  );

  app.get(
    budgets,
    {
      config: { scope: "read" },
      schema: {
        summary: "The tenant's budgets, and how far they are spent",
        tags,
        params: OfTenant,
        response: { 200: z.object({ items: z.array(ShownBudget) }) },
      },
    },
    async ({ params: { tenant_id } }) => shown({ items: [...(await listBudgets(pool, tenant_id))] }),
  );

  app.put(
    budgets,
    {
      config: { scope: "admin" },
      schema: {
        summary:
          "Set a budget, or change the one of its kind; what waited for it goes on where it is not spent",
        tags,
        params: OfTenant,
        body: NewBudget,
        response: { 200: ShownBudget },
      },
    },
    async ({ params: { tenant_id }, body: { usd, ...of } }) =>
      shown(await setBudget(pool, { tenant_id, ...of }, usd)),
  );

  app.delete(
    `${budgets}/:id`,
    {
      config: { scope: "admin" },
      schema: {
        summary: "Take a budget away; what waited for it goes on",
        tags,
        params: OfOne,
        response: { 200: ShownBudget },
      },
    },
    async ({ params: { tenant_id, id } }) => shown(await dropBudget(pool, tenant_id, id)),
  );
}

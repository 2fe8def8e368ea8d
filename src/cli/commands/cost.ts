import { z } from "zod";
import { LoregraphError } from "../../errors.ts";
import { type Cost, type CostPart, costParts, costsOf, Day, totalCostOf } from "../../ledger/cost.ts";
import { dollars, print, table } from "../output.ts";
import { list, newCommand, tenantOption } from "../program.ts";
import { withSession } from "../session.ts";
import { theTenant } from "../tenant.ts";

export const command = () =>
  newCommand(
    "cost",
    "show what a tenant's models cost, and what was saved, by pipeline, model or day",
    "loregraph cost --tenant <uuid> --since 7d --by pipeline,model",
  )
    .addOption(tenantOption())
    .option("--since <day>", "from that day of UTC on, or the last days: 2026-11-01, 7d", day("--since"))
    .option("--until <day>", "up to that day of UTC", day("--until"))
    .option("--by <parts>", "what it is broken down by: pipeline, model, day", parts, [
      "pipeline",
      "model",
    ] as const)
    .action(async ({ tenant, since, until, by, json }) => {
      await withSession(async ({ pool }) => {
        const tenant_id = await theTenant(pool, tenant);
        const [items, total] = await Promise.all([
          costsOf(pool, tenant_id, { since, until }, by),
          totalCostOf(pool, tenant_id, { since, until }),
        ]);
        const seen = { tenant_id, since: since ?? null, until: until ?? null, total, items };
        print(seen, json, () => asText(items, total, by));
      });
    });

type Figures = Omit<Cost, CostPart>;

function asText(items: readonly Cost[], total: Figures, by: readonly CostPart[]): string {
  if (items.length === 0) return "no model was asked for this tenant in that time";
  const rows = items.map((item) => [...by.map((part) => item[part]), ...figures(item)]);
  const all = ["in all", ...by.slice(1).map(() => ""), ...figures(total)];
  return table([...by, "calls", "tokens in", "out", "cost", "saved"], [...rows, all]);
}

function figures(of: Figures): readonly (string | number)[] {
  const saved = of.saved_calls > 0 ? `${dollars(of.saved_usd)} (${of.saved_calls} calls)` : "";
  return [of.calls, of.tokens_in, of.tokens_out, dollars(of.cost_usd), saved];
}

/** Reads a day, `2026-11-28`, or how many days to look back, `7d` with today among them. */
function day(what: string) {
  return (value: string): string => {
    const [, back] = /^([1-9]\d{0,4})d$/.exec(value) ?? [];
    if (back !== undefined)
      return new Date(Date.now() - (Number(back) - 1) * 86_400_000).toISOString().slice(0, 10);
    if (Day.safeParse(value).success) return value;
    throw new LoregraphError(
      "INPUT_INVALID",
      `expected ${what} to be such as 2026-11-28 or 7d, got: ${value}`,
    );
  };
}

function parts(value: string): readonly CostPart[] {
  const asked = z.array(z.enum(costParts)).safeParse(list("--by")(value));
  if (asked.success) return costParts.filter((part) => asked.data.includes(part));
  throw new LoregraphError(
    "INPUT_INVALID",
    `expected --by to be of ${costParts.join(", ")}, got: ${JSON.stringify(value)}`,
  );
}

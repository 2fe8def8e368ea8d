import { Command, Option } from "@commander-js/extra-typings";
import { LoregraphError } from "../../errors.ts";
import { type Budget, budgetPeriods, dropBudget, listBudgets, setBudget } from "../../ledger/budgets.ts";
import { dollars, print, table } from "../output.ts";
import { exampleText, newCommand, tenantOption, uuid } from "../program.ts";
import { assertRegistered } from "../registered.ts";
import { withSession } from "../session.ts";
import { theTenant } from "../tenant.ts";

export const command = () =>
  new Command("budget")
    .description("bound what a tenant's models cost a day or a month; work that it stops waits")
    .addHelpText("after", exampleText("loregraph budget set --tenant <uuid> --per day --usd 1.00"))
    .addCommand(set())
    .addCommand(listed())
    .addCommand(drop());

const set = () =>
  newCommand(
    "set",
    "set a budget, or change the one of its kind",
    "loregraph budget set --tenant <uuid> --pipeline dialog-mood --per month --usd 20",
  )
    .addOption(tenantOption())
    .option("--pipeline <name>", "of this pipeline; default: of all together")
    .option("--reingest <uuid>", "of this reingest; default: whatever is part of one", uuid("--reingest"))
    .addOption(
      new Option("--per <period>", "what it is for, in UTC").choices(budgetPeriods).makeOptionMandatory(),
    )
    .requiredOption("--usd <amount>", "US dollars; 0 lets no model be asked", usd)
    .action(async ({ tenant, pipeline, reingest, per, usd, json }) => {
      await withSession(async ({ pool, config }) => {
        if (pipeline !== undefined) await assertRegistered(pipeline, config.graphs);
        const tenant_id = await theTenant(pool, tenant);
        print(
          await setBudget(pool, { tenant_id, pipeline, reingest_id: reingest, per }, usd),
          json,
          (budget) => asText([budget]),
        );
      });
    });

const listed = () =>
  newCommand("list", "list budgets, and how far they are spent", "loregraph budget list --tenant <uuid>")
    .addOption(tenantOption())
    .action(async ({ tenant, json }) => {
      await withSession(async ({ pool }) => print(await listBudgets(pool, tenant), json, asText));
    });

const drop = () =>
  newCommand("drop", "take a budget away; what waited for it goes on", "loregraph budget drop <id>")
    .argument("<id>", "the budget's id", uuid("the budget's id"))
    .addOption(tenantOption())
    .action(async (id, { tenant, json }) => {
      await withSession(async ({ pool }) =>
        print(
          await dropBudget(pool, await theTenant(pool, tenant), id),
          json,
          ({ usd, per }) => `dropped: ${dollars(usd)} a ${per}`,
        ),
      );
    });

function usd(value: string): number {
  const amount = Number(value);
  if (/^\d+(\.\d{1,9})?$/.test(value) && amount <= 1_000_000) return amount;
  throw new LoregraphError(
    "INPUT_INVALID",
    `expected --usd to be an amount such as 1.00, at most 1000000, got: ${value}`,
  );
}

function asText(budgets: readonly Budget[]): string {
  if (budgets.length === 0) return "no budgets; `loregraph budget set` makes one";
  const rows = budgets.map((budget) => [
    budget.id,
    [budget.pipeline, budget.reingest_id && `reingest ${budget.reingest_id}`].filter(Boolean).join(" in ") ||
      "all",
    `${dollars(budget.spent_usd)} of ${dollars(budget.usd)} a ${budget.per}`,
    budget.holds_until ? `work waits until ${budget.holds_until.toISOString()}` : "",
  ]);
  return table(["id", "of", "spent", ""], rows);
}

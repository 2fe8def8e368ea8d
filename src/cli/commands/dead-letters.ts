import { Command } from "@commander-js/extra-typings";
import { type Cause, listCauses } from "../../ledger/causes.ts";
import { redriveDeadLetters } from "../../ledger/redrive.ts";
import { ago, brief, print, table } from "../output.ts";
import { exampleText, newCommand, tenantOption, wholeNumber } from "../program.ts";
import { assertRegistered } from "../registered.ts";
import { withSession } from "../session.ts";

export const command = () =>
  new Command("dead-letters")
    .description("list what failed for good, by cause, or try it again")
    .addHelpText("after", exampleText("loregraph dead-letters redrive --cause MODEL_REFUSED"))
    .addCommand(list())
    .addCommand(redrive());

const filtered = (name: string, summary: string, example: string) =>
  newCommand(name, summary, example)
    .addOption(tenantOption())
    .option("--pipeline <name>", "only of this pipeline")
    .option("--cause <code>", "only with this error code");

const list = () =>
  filtered("list", "list dead letters by pipeline and cause", "loregraph dead-letters list")
    .option("--limit <n>", "the most causes", wholeNumber("--limit", 1), 100)
    .action(async ({ tenant, pipeline, cause, limit, json }) => {
      await withSession(async ({ pool, config }) => {
        const causes = await listCauses(pool, { tenant_id: tenant, pipeline, code: cause, limit });
        if (causes.length === 0 && pipeline !== undefined) await assertRegistered(pipeline, config.graphs);
        print(causes, json, asText);
      });
    });

const redrive = () =>
  filtered(
    "redrive",
    "try dead letters again, with all their attempts",
    "loregraph dead-letters redrive --pipeline dialog-mood --cause MODEL_REFUSED",
  )
    .option("--limit <n>", "the most dead letters", wholeNumber("--limit", 1), 1_000)
    .action(async ({ tenant, pipeline, cause, limit, json }) => {
      await withSession(async ({ pool, config }) => {
        const redriven = await redriveDeadLetters(pool, { tenant_id: tenant, pipeline, code: cause, limit });
        if (redriven === 0 && pipeline !== undefined) await assertRegistered(pipeline, config.graphs);
        print({ redriven }, json, () => `${redriven} will be tried again`);
      });
    });

function asText(causes: readonly Cause[]): string {
  if (causes.length === 0) return "no dead letters";
  const rows = causes.map(({ pipeline, error_code, runs, error_message, last_at }) => [
    pipeline,
    error_code,
    runs,
    brief(error_message, 32),
    ago(last_at),
  ]);
  return table(["pipeline", "cause", "runs", "for example", "last"], rows);
}

import { Command } from "@commander-js/extra-typings";
import { type DeadLetters, deadLetterCauses } from "../../ledger/read.ts";
import { redriveDeadLetters } from "../../ledger/redrive.ts";
import { brief, print, table } from "../output.ts";
import { exampleText, newCommand, tenantOption, wholeNumber } from "../program.ts";
import { withSession } from "../session.ts";

export const command = () =>
  new Command("dead-letters")
    .description("list what failed for good, by cause, or try it again")
    .addHelpText("after", exampleText("loregraph dead-letters redrive --cause MODEL_REFUSED"))
    .addCommand(list())
    .addCommand(redrive());

const list = () =>
  newCommand("list", "list dead letters by pipeline and cause", "loregraph dead-letters list")
    .addOption(tenantOption())
    .action(async ({ tenant, json }) => {
      await withSession(async ({ pool }) => print(await deadLetterCauses(pool, tenant), json, asText));
    });

const redrive = () =>
  newCommand(
    "redrive",
    "try dead letters again, with all their attempts",
    "loregraph dead-letters redrive --pipeline dialog-mood --cause MODEL_REFUSED",
  )
    .addOption(tenantOption())
    .option("--pipeline <name>", "only of this pipeline")
    .option("--cause <code>", "only with this error code")
    .option("--limit <n>", "the most dead letters", wholeNumber("--limit", 1), 1_000)
    .action(async ({ tenant, pipeline, cause, limit, json }) => {
      await withSession(async ({ pool }) => {
        const redriven = await redriveDeadLetters(pool, { tenant_id: tenant, pipeline, code: cause, limit });
        print({ redriven }, json, () => `${redriven} will be tried again`);
      });
    });

function asText(letters: readonly DeadLetters[]): string {
  if (letters.length === 0) return "no dead letters";
  const rows = letters.map((d) => [d.pipeline, d.error_code, d.runs, brief(d.error_message, 40)]);
  return table(["pipeline", "cause", "runs", "for example"], rows);
}

import { type Diff, diffVersions, type Example, type FieldSummary } from "../../rollouts/diff.ts";
import { brief, print, table } from "../output.ts";
import { newCommand, tenantOption, wholeNumber } from "../program.ts";
import { assertRegistered } from "../registered.ts";
import { withSession } from "../session.ts";

export const command = () =>
  newCommand(
    "diff",
    "show how the outputs of two versions differ, by field and by example, while one is rolled out",
    "loregraph diff dialog-mood 1 2 --limit 5",
  )
    .argument("<pipeline>", "its name in langgraph.json")
    .argument("<from>", "the version that runs", wholeNumber("the version that runs", 1))
    .argument("<to>", "the version that is tried", wholeNumber("the version that is tried", 1))
    .addOption(tenantOption())
    .option("--limit <n>", "the most examples, the most different first", wholeNumber("--limit", 0), 10)
    .action(async (pipeline, from, to, { tenant, limit, json }) => {
      await withSession(async ({ pool, config }) => {
        await assertRegistered(pipeline, config.graphs);
        const diff = await diffVersions(pool, { pipeline, from, to, tenant_id: tenant, limit });
        print(diff, json, asText);
      });
    });

function asText({ pipeline, from, to, pairs, equal, uncompared, fields, examples }: Diff): string {
  if (pairs === 0)
    return `nothing to compare: no output of ${pipeline} ${to} is kept aside beside one of ${from}; \`loregraph rollout\` makes some`;
  return [
    `${pipeline} ${from} and ${to}: ${equal} of ${pairs} outputs are equal${uncompared > 0 ? `; ${uncompared} more have nothing to be compared with` : ""}`,
    table(["field", "equal", "mean change", "largest", "added", "removed"], fields.map(fieldRow)),
    ...examples.map(exampleText),
  ].join("\n\n");
}

function fieldRow(summary: FieldSummary): readonly (string | number)[] {
  const { field, pairs, equal, mean_delta, largest_delta, mean_added, mean_removed } = summary;
  const shown = (number: number | undefined) => (number === undefined ? "" : Number(number.toFixed(3)));
  const numbers = [mean_delta, largest_delta, mean_added, mean_removed].map(shown);
  return [field, `${Math.round((equal / pairs) * 100)}%`, ...numbers];
}

function exampleText({ source_type, source_id, distance, fields }: Example): string {
  const lines = fields.map(
    ({ field, before, after }) =>
      `  ${field}: ${brief(JSON.stringify(before))} became ${brief(JSON.stringify(after))}`,
  );
  return [`${source_type} ${source_id}, ${Math.round(distance * 100)}% different`, ...lines].join("\n");
}

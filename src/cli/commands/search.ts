import { type Hit, searchChunks } from "../../store/search.ts";
import { brief, print, wrapped } from "../output.ts";
import { newCommand, tenantOption, wholeNumber } from "../program.ts";
import { withSession } from "../session.ts";
import { theTenant } from "../tenant.ts";

export const command = () =>
  newCommand(
    "search",
    "find chunks by their words, best first",
    'loregraph search "the lighthouse" --limit 5',
  )
    .argument("<words...>", 'words; "in quotes" as a phrase, -not to exclude, or between alternatives')
    .addOption(tenantOption())
    .option("--limit <n>", "the most chunks", wholeNumber("--limit", 1), 10)
    .action(async (words, { tenant, limit, json }) => {
      await withSession(async ({ pool }) => {
        print(await searchChunks(pool, await theTenant(pool, tenant), words.join(" "), limit), json, asText);
      });
    });

function asText(hits: readonly Hit[]): string {
  return hits.length === 0 ? "nothing found" : hits.map(hitText).join("\n\n");
}

function hitText({ path, title, source_type, source_id, start, end, excerpt }: Hit): string {
  return `${path || title}\n${wrapped(brief(excerpt, 160), 80, "  ")}\n  ${source_type} ${source_id}, characters ${start} to ${end}`;
}

import { type ImportReport, importFile } from "../../import.ts";
import { loadRegistry } from "../../registry.ts";
import { exitCodes } from "../exit-codes.ts";
import { print } from "../output.ts";
import { newCommand, uuid } from "../program.ts";
import { progressOf } from "../progress.ts";
import { withSession } from "../session.ts";

export const command = () =>
  newCommand(
    "import",
    "take in a novel (plain text, Markdown) or a file of JSON Lines; workers then ingest it",
    "loregraph import novel.txt --tenant 7b0c1f6e-3f57-4a0e-9b61-0f6d3a3f9c11",
  )
    .argument("<path>", "a .txt or .md novel, or a .jsonl or .ndjson file with an entity a line")
    .requiredOption("--tenant <uuid>", "the tenant that owns it", uuid("--tenant"))
    .option("--source <name>", "what the file is known by; its name without folders by default")
    .option("--again", "look again at what has not changed: pipelines do what is stale or missing")
    .action(async (path, { tenant, source, again, json }) => {
      await withSession(async ({ pool, config, signal }) => {
        const registry = await loadRegistry(config.graphs);
        const progress = progressOf("importing");
        const onProgress = (done: number, total: number) => progress.update(done, total, "entities");
        const { maxTextChars } = config;
        const options = { tenant_id: tenant, path, source, again, maxTextChars, onProgress, signal };
        const report = await importFile(pool, registry, options).finally(progress.end);
        print(report, json, asText);
        if (report.rejected.length > 0) process.exitCode = exitCodes.inPart;
      });
    });

function asText({ file, encoding, notes, counts, types, rejected }: ImportReport): string {
  const what = Object.entries(types).map(([type, count]) => `${count} ${type}`);
  const how = Object.entries(counts).map(([change, count]) => `${count} ${change}`);
  return [
    `${file} (${encoding}): ${what.join(", ") || "nothing"}`,
    how.join(", "),
    ...notes.map((note) => `note: ${note}`),
    ...rejected.slice(0, 20).map(({ line, reason }) => `rejected: line ${line ?? "?"}: ${reason}`),
    ...(rejected.length > 20 ? [`and ${rejected.length - 20} more lines; --json names them all`] : []),
    ...(rejected.length > 0 ? ["nothing was deleted, because lines were rejected"] : []),
  ].join("\n");
}

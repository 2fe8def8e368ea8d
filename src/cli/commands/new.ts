import { relative } from "node:path";
import { readConfig } from "../../config.ts";
import { type Created, newPipeline } from "../../new/new.ts";
import { print } from "../output.ts";
import { list, newCommand } from "../program.ts";

/** What holds the text of a story: an imported novel has it in content blocks, other sources in scenes. */
const prose: readonly string[] = ["scene", "beat", "content_block"];

export const command = () =>
  newCommand(
    "new",
    "write a new pipeline: a folder that passes its tests, and its line in langgraph.json",
    "loregraph new scene-weather --types scene,beat",
  )
    .argument("<name>", "lower-case letters, digits and hyphens")
    .option("--on <event>", "the event that triggers it", "entity.ingested")
    .option("--types <types>", "the source types it runs on, separated by commas", list("--types"), prose)
    .action(async (name, { on, types, json }) => {
      print(await newPipeline({ name, on, types }, readConfig().graphs), json, asText);
    });

function asText({ pipeline, folder, files, registry, did, install }: Created): string {
  const here = (path: string) => relative(process.cwd(), path) || ".";
  return [
    `${here(folder)}/ holds ${files.join(", ")}`,
    `${here(registry)} names it`,
    ...did,
    ...(install ? [`it imports what is not installed here: ${install}`] : []),
    "",
    "Next:",
    `  npx vitest run ${here(folder)}`,
    `  npx loregraph graph ${pipeline}`,
    "  npx loregraph worker --until-idle",
  ].join("\n");
}

import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { LoregraphError } from "../errors.ts";
import type { Pipeline } from "../pipeline.ts";
import { loadRegistry } from "../registry.ts";
import { triggerEvents } from "../triggers.ts";
import { furnish, missingPackages } from "./furnish.ts";
import { assertEvent, assertFreeName, assertSourceTypes } from "./name.ts";
import { projectAt } from "./project.ts";
import { withValue, writeWhole } from "./registry-file.ts";
import { type NewPipeline, templateFiles } from "./template.ts";

export type Created = {
  readonly pipeline: string;
  readonly folder: string;
  readonly files: readonly string[];
  readonly registry: string;
  /** What else was made or changed in a project of one's own. */
  readonly did: readonly string[];
  /** The command that installs what the folder imports and the project has not. */
  readonly install: string | undefined;
};

/**
 * Adds a pipeline to the repository of `langgraph.json`, the file at `graphs` or the working folder's: a folder that
 * passes its own tests, and its line in that file. Overwrites nothing. Throws INPUT_INVALID, and has then done nothing.
 */
export async function newPipeline(pipeline: NewPipeline, graphs = "langgraph.json"): Promise<Created> {
  const registry = resolve(graphs);
  const project = projectAt(dirname(registry));
  const known = existsSync(registry) ? [...(await loadRegistry(registry)).values()] : [];
  assertPossible(pipeline, known);
  const files = templateFiles(pipeline, project.runtime);
  const folder = writeFolder(project.root, pipeline.name, files);
  try {
    const did = furnish(project, registry);
    const target = `./graphs/${pipeline.name}/pipeline.ts:default`;
    writeWhole(registry, withValue(readFileSync(registry, "utf8"), ["graphs", pipeline.name], target));
    return {
      pipeline: pipeline.name,
      folder,
      files: [...files.keys()],
      registry,
      did,
      install: missingPackages(project),
    };
  } catch (error) {
    rmSync(folder, { recursive: true });
    throw error;
  }
}

function assertPossible({ name, on, types }: NewPipeline, known: readonly Pipeline[]): void {
  assertFreeName(
    name,
    known.map((other) => other.name),
  );
  assertEvent(on, triggerEvents(known));
  assertSourceTypes(types);
}

/** A folder of that name is made, or the attempt fails: of two at once, one. */
function writeFolder(root: string, name: string, files: ReadonlyMap<string, string>): string {
  const folder = join(root, "graphs", name);
  mkdirSync(dirname(folder), { recursive: true });
  try {
    mkdirSync(folder);
  } catch (cause) {
    throw new LoregraphError(
      "INPUT_INVALID",
      `${folder} cannot be made, or is there already: choose another name`,
      { cause },
    );
  }
  for (const [file, text] of files) writeFileSync(join(folder, file), text);
  return folder;
}

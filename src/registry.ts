import { existsSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { z } from "zod";
import { LoregraphError, messageOf } from "./errors.ts";
import { type Pipeline, runtimeEvents } from "./pipeline.ts";

/** The pipelines of `langgraph.json`, by name. */
export type Registry = ReadonlyMap<string, Pipeline>;

const File = z.object({
  graphs: z.record(
    z.string(),
    z
      .string()
      .regex(/^[^:]+:[A-Za-z_$][\w$]*$/, "expected path:export, such as ./graphs/base/pipeline.ts:default"),
  ),
});

/**
 * Loads the pipelines that `langgraph.json` names: the file at `path`, else the working folder's, else our own.
 * LangGraph Studio loads the same entries. Throws REGISTRY_INVALID, naming the entry.
 */
export async function loadRegistry(path?: string): Promise<Registry> {
  const file = path ? resolve(path) : (existing(resolve("langgraph.json")) ?? ownRegistry());
  const entries = Object.entries(readEntries(file));
  const pipelines = await Promise.all(entries.map(([name, target]) => loadPipeline(file, name, target)));
  const registry = new Map(pipelines.map((pipeline) => [pipeline.name, pipeline]));
  assertOwnEvents(file, pipelines);
  assertTriggersThatFire(file, pipelines);
  return registry;
}

function existing(file: string): string | undefined {
  return existsSync(file) ? file : undefined;
}

/** The checkout's langgraph.json, or the one that lies beside the built files in the published package. */
function ownRegistry(): string {
  return join(dirname(fileURLToPath(import.meta.url)), "..", "langgraph.json");
}

function readEntries(file: string): Readonly<Record<string, string>> {
  try {
    return File.parse(JSON.parse(readFileSync(file, "utf8"))).graphs;
  } catch (cause) {
    const why = cause instanceof z.ZodError ? z.prettifyError(cause) : messageOf(cause);
    throw new LoregraphError("REGISTRY_INVALID", `cannot read ${file}: ${why}`, { cause });
  }
}

async function loadPipeline(file: string, name: string, target: string): Promise<Pipeline> {
  const [path = "", symbol = ""] = target.split(":");
  const module = resolve(dirname(file), path);
  if (!existsSync(module)) throw invalid(file, name, `names ${path}, which does not exist`);
  const exported: unknown = (await importModule(file, name, module))[symbol];
  if (!isPipeline(exported)) throw invalid(file, name, `expected ${target} to be made by definePipeline`);
  if (exported.name !== name)
    throw invalid(file, name, `expected its pipeline to bear the same name, got: ${exported.name}`);
  return exported;
}

async function importModule(file: string, name: string, module: string): Promise<Record<string, unknown>> {
  try {
    return await import(pathToFileURL(module).href);
  } catch (cause) {
    throw invalid(file, name, `${module} cannot be loaded: ${messageOf(cause)}`, cause);
  }
}

function isPipeline(value: unknown): value is Pipeline {
  return (
    typeof value === "object" &&
    value !== null &&
    "compile" in value &&
    "trigger" in value &&
    "output" in value
  );
}

/** What the runtime tells of is the runtime's to tell: others take it for a fact. */
function assertOwnEvents(file: string, pipelines: readonly Pipeline[]): void {
  const reserved: readonly string[] = runtimeEvents;
  for (const { name, emits } of pipelines) {
    const taken = emits.find((event) => reserved.includes(event));
    if (taken !== undefined)
      throw invalid(file, name, `expected emits to name events of its own, got: ${taken}, the runtime's`);
  }
}

/** A trigger that never fires, or whose every run ends cancelled, would fail without anybody being told. */
function assertTriggersThatFire(file: string, pipelines: readonly Pipeline[]): void {
  // Nobody asks for a reingest yet.
  const appended = runtimeEvents.filter((event) => event !== "reingest.requested");
  const events: readonly string[] = [...appended, ...pipelines.flatMap(({ emits }) => emits)];
  for (const { name, trigger } of pipelines) {
    if (!events.includes(trigger.on))
      throw invalid(file, name, `expected trigger.on to be one of ${events.join(", ")}, got: ${trigger.on}`);
    if (trigger.on === "entity.deleted" && !trigger.mentioned) throw invalid(file, name, goneBefore);
  }
}

const goneBefore =
  "would never run: after entity.deleted its entity is gone; with trigger.mentioned it runs on those that the text spoke of";

function invalid(file: string, name: string, what: string, cause?: unknown): LoregraphError {
  return new LoregraphError("REGISTRY_INVALID", `${file}: "${name}" ${what}`, { cause });
}

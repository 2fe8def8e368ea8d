import { existsSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { visit } from "jsonc-parser";
import { z } from "zod";
import { placeOf } from "./code-place.ts";
import { LoregraphError, messageOf } from "./errors.ts";
import { codeOf } from "./fingerprint.ts";
import { readTriedName, triedName } from "./ledger/tried.ts";
import type { Pipeline } from "./pipeline.ts";
import { faultsOf } from "./triggers.ts";

/** The pipelines that run, by name. */
export type Registry = ReadonlyMap<string, Pipeline>;

/** The pipelines that `langgraph.json` names: of each the version that runs, and beside it those that are only tried. */
export class LoadedRegistry extends Map<string, Pipeline> {
  /** All versions, those that run among them. */
  readonly versions: readonly Pipeline[];
  readonly #plain: ReadonlyMap<string, Pipeline>;

  /** `others` are other versions of the pipelines that run. */
  constructor(running: readonly Pipeline[], others: readonly Pipeline[] = []) {
    const plain = new Map(running.map((pipeline) => [pipeline.name, pipeline]));
    super(plain);
    this.#plain = plain;
    this.versions = [...running, ...others];
  }

  /** Is there a version beside one that runs? */
  get hasOthers(): boolean {
    return this.versions.length > this.size;
  }

  /** Lets the promoted versions run, where they are loaded and above those that entries without a version name. */
  use(promoted: ReadonlyMap<string, number>): void {
    for (const [name, plain] of this.#plain) {
      const version = promoted.get(name) ?? 0;
      const found = version > plain.version ? findPipeline(this, name, version) : undefined;
      this.set(name, found ?? plain);
    }
  }
}

/** The versions that do not run: those that may be tried on a share. */
export function triedIn(registry: Registry): readonly Pipeline[] {
  return versionsIn(registry).filter((pipeline) => registry.get(pipeline.name) !== pipeline);
}

/** The pipeline that a run of this name in the ledger is of, which may be a version that is only tried. */
export function pipelineOfRun(registry: Registry, pipeline: string): Pipeline | undefined {
  const tried = readTriedName(pipeline);
  return tried ? findPipeline(registry, tried.name, tried.version) : registry.get(pipeline);
}

/** What the runs of all versions are called in the ledger. */
export function namesInLedger(registry: Registry): readonly string[] {
  return [...registry.keys(), ...triedIn(registry).map(triedName)];
}

/** The pipeline of this name: the version that runs, or the one that is named, which may be one that is only tried. */
export function findPipeline(registry: Registry, name: string, version?: number): Pipeline | undefined {
  if (version === undefined) return registry.get(name);
  return versionsIn(registry).find((pipeline) => pipeline.name === name && pipeline.version === version);
}

/** All versions of all pipelines, those that run first. */
export function versionsIn(registry: Registry): readonly Pipeline[] {
  return registry instanceof LoadedRegistry ? registry.versions : [...registry.values()];
}

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
export async function loadRegistry(path?: string): Promise<LoadedRegistry> {
  const file = registryFile(path);
  const entries = Object.entries(readEntries(file));
  const pipelines = await Promise.all(entries.map(([name, target]) => loadPipeline(file, name, target)));
  const isTried = (nth: number) => entries[nth]?.[0].includes("@");
  const running = pipelines.filter((_, nth) => !isTried(nth));
  const tried = pipelines.filter((_, nth) => isTried(nth));
  const registry = new LoadedRegistry(running, tried);
  for (const pipeline of tried) assertOtherVersion(file, registry, pipeline);
  for (const { pipeline, what } of faultsOf(pipelines)) throw invalid(file, pipeline, what);
  return registry;
}

/** The folder that holds a pipeline's files, where `loadRegistry` finds it by the same `path`; its name is known. */
export function folderOf(name: string, path?: string): string {
  const file = registryFile(path);
  const [module = ""] = readEntries(file)[name]?.split(":") ?? [];
  return dirname(resolve(dirname(file), module));
}

function registryFile(path: string | undefined): string {
  return path ? resolve(path) : (existing(resolve("langgraph.json")) ?? ownRegistry());
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
    const text = readFileSync(file, "utf8");
    const { graphs } = File.parse(JSON.parse(text));
    assertNamedOnce(text);
    return graphs;
  } catch (cause) {
    const why = cause instanceof z.ZodError ? z.prettifyError(cause) : messageOf(cause);
    throw new LoregraphError("REGISTRY_INVALID", `cannot read ${file}: ${why}`, { cause });
  }
}

/** JSON lets the last of two equal keys win: a pipeline would be gone without anybody being told. */
function assertNamedOnce(text: string): void {
  const lines = new Map<string, number>();
  visit(text, {
    onObjectProperty(name, _offset, _length, line, _column, path) {
      if (path().join() !== "graphs") return;
      const first = lines.get(name);
      if (first !== undefined) throw new Error(`lines ${first} and ${line + 1} both name a pipeline ${name}`);
      lines.set(name, line + 1);
    },
  });
}

async function loadPipeline(file: string, name: string, target: string): Promise<Pipeline> {
  const [path = "", symbol = ""] = target.split(":");
  const module = resolve(dirname(file), path);
  if (!existsSync(module)) throw invalid(file, name, `names ${path}, which does not exist`);
  const exports = await importModule(file, name, module);
  const exported = exports[symbol];
  if (!(symbol in exports)) throw invalid(file, name, noExport(path, symbol, Object.keys(exports)));
  if (!isPipeline(exported)) throw invalid(file, name, `expected ${target} to be made by definePipeline`);
  assertNamed(file, name, exported);
  return { ...exported, code: codeOf(module) };
}

/** An entry is named for its pipeline; one that is tried beside it, for its version too: `dialog-mood@2`. */
function assertNamed(file: string, entry: string, { name, version }: Pipeline): void {
  const [plain, tried] = entry.split("@");
  if (name !== plain) throw invalid(file, entry, `expected its pipeline to bear the same name, got: ${name}`);
  if (tried !== undefined && tried !== String(version))
    throw invalid(file, entry, `expected its pipeline to be of version ${tried}, got: ${version}`);
}

function assertOtherVersion(file: string, registry: Registry, { name, version, kind }: Pipeline): void {
  const entry = `${name}@${version}`;
  const running = registry.get(name);
  if (running === undefined) throw invalid(file, entry, `expected an entry "${name}" beside it, got: none`);
  if (running.version >= version)
    throw invalid(file, entry, `expected a version above that of "${name}", ${running.version}`);
  if (kind === "ingestion")
    throw invalid(file, entry, "expected an enricher: only those are tried on a share");
}

function noExport(path: string, symbol: string, exports: readonly string[]): string {
  const there = exports.length > 0 ? exports.toSorted().join(", ") : "nothing";
  return `expected ${path} to export ${symbol}, made by definePipeline; it exports ${there}`;
}

async function importModule(file: string, name: string, module: string): Promise<Record<string, unknown>> {
  try {
    return await import(pathToFileURL(module).href);
  } catch (cause) {
    throw invalid(file, name, `cannot be loaded: ${placeOf(cause) ?? module}: ${messageOf(cause)}`, cause);
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

function invalid(file: string, name: string, what: string, cause?: unknown): LoregraphError {
  return new LoregraphError("REGISTRY_INVALID", `${file}: "${name}" ${what}`, { cause });
}

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { messageOf } from "../errors.ts";
import { openModels } from "../models/models.ts";
import { Entity, type Pipeline, type Reader } from "../pipeline.ts";
import { changedText, changeOf } from "./changed.ts";
import type { Recorded } from "./recorded.ts";

/** What is wrong with a pipeline; a warning fails no check. */
export type Finding = { readonly level: "error" | "warning"; readonly what: string };

export type Checked = {
  readonly name: string;
  readonly version: number;
  readonly kind: Pipeline["kind"];
  readonly fingerprint: string;
  readonly findings: readonly Finding[];
};

/**
 * Checks a pipeline without running it: can its graph be compiled, its output be told as JSON Schema, are its examples
 * sound, and is its code what was run under its version, where that is `recorded`?
 */
export function checkPipeline(pipeline: Pipeline, recorded: readonly Recorded[] | undefined): Checked {
  const { name, version, kind, code } = pipeline;
  const changed = recorded && changeOf(pipeline, recorded);
  const findings = [
    ...compileFindings(pipeline),
    ...outputFindings(pipeline),
    ...exampleFindings(pipeline),
    ...(changed ? [error(changedText(changed))] : []),
  ];
  return { name, version, kind, fingerprint: code.fingerprint, findings };
}

const error = (what: string): Finding => ({ level: "error", what });
const warning = (what: string): Finding => ({ level: "warning", what });

/** A model that nobody asks: building a graph calls none. */
const unasked = { apiKey: "none", baseUrl: "http://127.0.0.1:9/v1", timeoutMs: 1_000, prices: undefined };
const models = () => openModels({ ...unasked, chatModel: "unasked", embeddingModel: "unasked" });

const reader: Reader = {
  passages: async () => [],
  mentioned: async () => [],
  previous: async () => undefined,
  enrichment: async () => undefined,
};

/** With a chat model, and without one where it says that it can do without. */
function compileFindings(pipeline: Pipeline): readonly Finding[] {
  const { model, embed } = models().lend({ known: async () => new Map() });
  const withModel = compileFinding(pipeline, { model, embed, read: reader });
  if (withModel.length > 0 || pipeline.local === undefined) return withModel;
  return compileFinding(
    pipeline,
    { embed, read: reader },
    " without a chat model, though it names a local branch",
  );
}

function compileFinding(
  { graph }: Pipeline,
  tools: Parameters<Pipeline["graph"]>[0],
  how = "",
): readonly Finding[] {
  try {
    graph(tools).compile();
    return [];
  } catch (cause) {
    return [error(`its graph cannot be compiled${how}: ${messageOf(cause)}`)];
  }
}

function outputFindings({ output }: Pipeline): readonly Finding[] {
  try {
    z.toJSONSchema(output);
    return [];
  } catch (cause) {
    return [error(`its output cannot be told as JSON Schema: ${messageOf(cause)}`)];
  }
}

function exampleFindings({ code, output }: Pipeline): readonly Finding[] {
  const file = join(code.folder, "examples.jsonl");
  if (code.folder === "" || !existsSync(file)) return [warning("it has no examples.jsonl")];
  const lines = readFileSync(file, "utf8").split("\n");
  return lines.flatMap((line, at) => (line.trim() === "" ? [] : exampleFinding(output, line, at + 1)));
}

function exampleFinding({ shape }: Pipeline["output"], written: string, line: number): readonly Finding[] {
  try {
    const { expected } = Example.parse(JSON.parse(written));
    const unknown = Object.keys(expected).filter((field) => !(field in shape));
    return unknown.map((field) => error(`examples.jsonl, line ${line}: its output has no field ${field}`));
  } catch (cause) {
    const why = cause instanceof z.ZodError ? z.prettifyError(cause) : messageOf(cause);
    return [error(`examples.jsonl, line ${line}: ${why}`)];
  }
}

const Example = z.object({
  input: Entity.partial().default({}),
  expected: z.record(z.string(), z.unknown()),
});

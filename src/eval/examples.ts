import { readFile } from "node:fs/promises";
import { v5 } from "uuid";
import { z } from "zod";
import { LoregraphError, messageOf } from "../errors.ts";
import { sha256 } from "../hash.ts";
import { Entity, type Pipeline } from "../pipeline.ts";
import { type FindPassage, Locator, passagesIn } from "./passages.ts";

/** One input of a graph with what its answer is expected to hold. */
export type Example = {
  /** No other example of the file has it. Defaults to the line, such as `line 3`. */
  readonly name: string;
  readonly input: Entity;
  /** The passages that `read.passages` finds. */
  readonly passages: readonly string[];
  /** What `read.previous` finds. */
  readonly previous?: unknown;
  /** What `read.enrichment` finds, by pipeline. */
  readonly enrichments: Readonly<Record<string, unknown>>;
  /** What a person answers to the graph's questions, in their order. */
  readonly answers?: readonly unknown[];
  /** A part of the answer: fields that are not named are not measured. */
  readonly expected: Readonly<Record<string, unknown>>;
};

export type Examples = {
  readonly examples: readonly Example[];
  /** The lines that were left out, and why. */
  readonly rejected: readonly { readonly line: number; readonly reason: string }[];
};

export type ReadOptions = {
  readonly pipeline: Pick<Pipeline, "trigger" | "output">;
  /** The folder of the books that examples refer to. */
  readonly texts?: string | undefined;
};

/**
 * Reads a file of examples, one a line: `{ "name", "input", "expected", "passages"?, "previous"?, "enrichments"? }`. What
 * `input` leaves out of an entity is filled in; in place of its `text`, `passage` may say where that stands in a book, and so
 * may each of `passages`. A broken line is left out with its number and the reason. Throws FILE_UNREADABLE, and
 * INPUT_INVALID where no example is left.
 */
export async function readExamples(file: string, options: ReadOptions): Promise<Examples> {
  const lines = (await textOf(file)).split("\n");
  const read = await readLines(lines, options);
  if (read.examples.length > 0) return read;
  const [first] = read.rejected;
  const why = first ? `line ${first.line} is rejected: ${first.reason}` : "it is empty";
  throw new LoregraphError("INPUT_INVALID", `${file} holds no example: ${why}`);
}

/** What the examples are, whatever their file is called and however it is laid out. */
export function dataHash(examples: readonly Example[]): string {
  return sha256(JSON.stringify(examples));
}

async function textOf(file: string): Promise<string> {
  try {
    return (await readFile(file, "utf8")).replace(/^\ufeff/, "");
  } catch (cause) {
    throw new LoregraphError("FILE_UNREADABLE", `${file} cannot be read: ${messageOf(cause)}`, { cause });
  }
}

async function readLines(lines: readonly string[], { pipeline, texts }: ReadOptions): Promise<Examples> {
  const find = passagesIn(texts);
  const examples: Example[] = [];
  const rejected: { line: number; reason: string }[] = [];
  const lineOf = new Map<string, number>();
  for (const [at, written] of lines.entries()) {
    if (written.trim() === "") continue;
    const line = at + 1;
    try {
      const example = await exampleOf(JSON.parse(written), `line ${line}`, pipeline, find);
      refuseRepeated(example, lineOf);
      lineOf.set(example.name, line);
      examples.push(example);
    } catch (error) {
      rejected.push({ line, reason: reasonOf(error) });
    }
  }
  return { examples, rejected };
}

const Line = z.object({
  name: z.string().min(1).optional(),
  input: Entity.partial().default({}),
  passage: Locator.optional(),
  passages: z.array(z.union([z.string(), Locator])).default([]),
  previous: z.unknown().optional(),
  enrichments: z.record(z.string(), z.unknown()).default({}),
  answers: z.array(z.unknown()).optional(),
  expected: z.record(z.string(), z.unknown()),
});
type Line = z.infer<typeof Line>;

/** The JSON object that a text is, or undefined where it is none. */
export function parseExample(written: string): Record<string, unknown> | undefined {
  if (!written.trimStart().startsWith("{")) return undefined;
  try {
    return z.record(z.string(), z.unknown()).parse(JSON.parse(written));
  } catch {
    return undefined;
  }
}

/** The example that a line's JSON is; `unnamed` is its name where it has none. Throws where it is broken. */
export async function exampleOf(
  json: unknown,
  unnamed: string,
  pipeline: ReadOptions["pipeline"],
  find: FindPassage,
): Promise<Example> {
  const parsed = Line.parse(json);
  const { name = unnamed, passages, previous, enrichments, answers, expected } = parsed;
  refuseUnknownFields(expected, pipeline);
  return {
    name,
    input: entityOf(name, await withText(parsed, find), pipeline),
    passages: await Promise.all(passages.map((one) => (typeof one === "string" ? one : find(one)))),
    ...(previous === undefined ? {} : { previous }),
    enrichments,
    ...(answers === undefined ? {} : { answers }),
    expected,
  };
}

async function withText({ input, passage }: Line, find: FindPassage): Promise<Line["input"]> {
  if (passage === undefined) return input;
  if (input.text) throw new LoregraphError("INPUT_INVALID", "expected input.text or passage, got both");
  return { ...input, text: await find(passage) };
}

/** Examples are of nobody: all have the same tenant, unless they name one. */
const nobody = "00000000-0000-4000-8000-000000000000";

/** The entity that is given in part, the rest filled in. */
function entityOf(
  name: string,
  given: { readonly [Field in keyof Entity]?: Entity[Field] | undefined },
  { trigger }: Pick<Pipeline, "trigger">,
): Entity {
  const source_type = trigger.types?.[0] ?? "scene";
  return Entity.parse({ tenant_id: nobody, source_type, source_id: v5(name, nobody), version: 1, ...given });
}

function refuseUnknownFields(expected: Example["expected"], { output }: Pick<Pipeline, "output">): void {
  const known = Object.keys(output.shape);
  const unknown = Object.keys(expected).find((field) => !known.includes(field));
  if (unknown === undefined) return;
  const why = `expected.${unknown}: expected a field of the answer (${known.join(", ")})`;
  throw new LoregraphError("INPUT_INVALID", why);
}

function refuseRepeated({ name }: Example, lineOf: ReadonlyMap<string, number>): void {
  const first = lineOf.get(name);
  if (first !== undefined)
    throw new LoregraphError("INPUT_INVALID", `name: line ${first} has the same, ${name}`);
}

function reasonOf(error: unknown): string {
  if (error instanceof SyntaxError) return `expected JSON, got: ${error.message}`;
  if (!(error instanceof z.ZodError)) return messageOf(error);
  const [issue] = error.issues;
  return issue ? `${issue.path.join(".") || "the line"}: ${issue.message}` : "expected an example";
}

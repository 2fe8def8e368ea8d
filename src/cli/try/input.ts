import { existsSync } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { buffer } from "node:stream/consumers";
import { z } from "zod";
import { decodeText } from "../../content/decode.ts";
import { LoregraphError, messageOf } from "../../errors.ts";
import { type Example, exampleOf, parseExample } from "../../eval/examples.ts";
import { passagesIn } from "../../eval/passages.ts";
import type { Pipeline, SourceType } from "../../pipeline.ts";

export type InputOptions = {
  readonly pipeline: Pipeline;
  readonly type?: SourceType | undefined;
  /** The example of a file of examples, by name. */
  readonly example?: string | undefined;
  readonly texts?: string | undefined;
};

/** What a graph is to be tried on: an entity of the database by its id, or an input that needs no database. */
export type Given =
  | { readonly kind: "stored"; readonly id: string }
  | { readonly kind: "given"; readonly input: Omit<Example, "expected" | "name"> };

/** Reads `-`, an id, a file or a text, whichever is written. Throws FILE_UNREADABLE and INPUT_INVALID. */
export async function readInput(written: string, options: InputOptions): Promise<Given> {
  if (z.guid().safeParse(written).success) return { kind: "stored", id: written.toLowerCase() };
  if (written === "-") return await given(decodeText(await buffer(process.stdin)).text, options);
  if (existsSync(written)) return await given(decodeText(await bytesOf(written)).text, options);
  if (looksLikeFile(written)) throw new LoregraphError("FILE_UNREADABLE", `there is no file ${written}`);
  return await given(written, options);
}

function looksLikeFile(written: string): boolean {
  return !/\s/.test(written) && (/\.\w{1,5}$/.test(written) || written.includes("/"));
}

async function bytesOf(path: string): Promise<Uint8Array> {
  try {
    if ((await stat(path)).isDirectory()) throw new Error("it is a folder");
    return await readFile(path);
  } catch (cause) {
    throw new LoregraphError("FILE_UNREADABLE", `${path} cannot be read: ${messageOf(cause)}`, { cause });
  }
}

/** An entity as JSON, an example, or else a text. */
async function given(text: string, options: InputOptions): Promise<Given> {
  const { pipeline, type, texts } = options;
  if (text.trim() === "") throw new LoregraphError("INPUT_INVALID", "expected a text or JSON, got: nothing");
  const json = chosen(text, options.example);
  const line = json === undefined ? { input: { text } } : isExample(json) ? json : { input: json };
  try {
    const example = await exampleOf({ expected: {}, ...line }, "tried", pipeline, passagesIn(texts));
    const input = type === undefined ? example.input : { ...example.input, source_type: type };
    return { kind: "given", input: { ...example, input } };
  } catch (error) {
    if (!(error instanceof z.ZodError)) throw error;
    throw new LoregraphError("INPUT_INVALID", `the input is no entity:\n${z.prettifyError(error)}`, {
      cause: error,
    });
  }
}

/** The JSON object that is written: all of it, or the line of the example that is named, or the first line. */
function chosen(text: string, example: string | undefined): Record<string, unknown> | undefined {
  const whole = parseExample(text);
  if (whole) return whole;
  const lines = text
    .split("\n")
    .map(parseExample)
    .filter((line) => line !== undefined);
  if (example === undefined) return lines[0];
  const found = lines.find(({ name }) => name === example);
  if (found) return found;
  throw new LoregraphError("INPUT_INVALID", `there is no example named ${example}`);
}

function isExample(json: Record<string, unknown>): boolean {
  return ["input", "expected", "passage"].some((field) => field in json);
}

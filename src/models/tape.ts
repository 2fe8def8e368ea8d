import { type FileHandle, open, readFile, truncate } from "node:fs/promises";
import { z } from "zod";
import { LoregraphError, messageOf } from "../errors.ts";
import type { Layer, ModelRequest, ModelResponse, Send } from "./layers.ts";

/** The names of the models that a tape was recorded with; `local` where none was configured. */
const Header = z.object({
  tape: z.literal(1),
  local: z.boolean(),
  chat_model: z.string(),
  embedding_model: z.string(),
});
export type TapeHeader = Omit<z.infer<typeof Header>, "tape">;

/** One question with its answer. The request is there to be read by people; `key` finds the answer. No header is kept. */
const Recorded = z.object({
  key: z.string(),
  kind: z.enum(["chat", "embedding"]),
  node: z.string().optional(),
  model: z.string(),
  request: z.unknown(),
  status: z.int(),
  body: z.string(),
});
type Recorded = z.infer<typeof Recorded>;

/** Answers of models in a file of JSON Lines, by what was asked. */
export type Tape = { readonly header: TapeHeader; readonly layer: Layer; close(): Promise<void> };

/**
 * A tape that answers what stands on it, and asks and adds what does not. An answer is handed on once it is written,
 * so that none is paid for twice; the same question at the same moment is asked once. A last line that a kill cut off
 * is dropped. Only good answers are kept. Throws FILE_UNREADABLE.
 */
export async function recordTape(path: string, header: TapeHeader): Promise<Tape> {
  const whole = await dropCutLine(path);
  const { recorded, header: known } =
    whole === "" ? { recorded: [], header: undefined } : parsed(path, whole);
  const file = await orUnreadable(path, () => open(path, "a", 0o600));
  if (!known) await file.appendFile(line({ tape: 1, ...header }));
  const recorder = new Recorder(path, file, recorded);
  return { header: known ?? header, layer: recorder.layer, close: () => recorder.close() };
}

/** A tape that answers what stands on it. Whatever else is asked throws TAPE_INCOMPLETE. Throws FILE_UNREADABLE. */
export async function replayTape(path: string): Promise<Tape> {
  const { header, recorded } = parsed(path, await orUnreadable(path, () => readFile(path, "utf8")));
  const answers = byKey(recorded);
  const layer: Layer = () => async (request) => {
    const found = answers.get(request.key);
    if (found) return replayed(found);
    throw new LoregraphError(
      "TAPE_INCOMPLETE",
      `${asked(request)}, and its answer is not on the tape ${path}`,
    );
  };
  return { header, layer, close: async () => {} };
}

function asked({ node, kind, model }: ModelRequest): string {
  const who = node === undefined ? "a question was asked" : `node "${node}" asked`;
  return `${who} (${kind}, ${model})`;
}

function byKey(recorded: readonly Recorded[]): Map<string, Recorded> {
  return new Map(recorded.map((one) => [one.key, one]));
}

function replayed({ status, body, model }: Recorded): ModelResponse {
  const headers = new Headers({ "content-type": "application/json" });
  return { status, headers, body, from: "replay", model };
}

class Recorder {
  readonly #path: string;
  readonly #file: FileHandle;
  readonly #answers: Map<string, Recorded>;
  readonly #underWay = new Map<string, Promise<unknown>>();
  #written: Promise<unknown> = Promise.resolve();

  constructor(path: string, file: FileHandle, recorded: readonly Recorded[]) {
    this.#path = path;
    this.#file = file;
    this.#answers = byKey(recorded);
  }

  readonly layer: Layer = (next) => async (request) => {
    // Where the one under way fails, each of those behind it asks by itself, one after the other.
    for (;;) {
      const found = this.#answers.get(request.key);
      if (found) return replayed(found);
      const before = this.#underWay.get(request.key);
      if (!before) break;
      await before.catch(() => {});
    }
    const asking = this.#ask(request, next);
    this.#underWay.set(request.key, asking);
    return await asking.finally(() => this.#underWay.delete(request.key));
  };

  async close(): Promise<void> {
    await this.#written.catch(() => {});
    await this.#file.close();
  }

  async #ask(request: ModelRequest, next: Send): Promise<ModelResponse> {
    const response = await next(request);
    const { status, body, model } = response;
    if (status < 200 || status >= 300) return response;
    const { key, kind, node } = request;
    const recorded = { key, kind, ...(node && { node }), model, request: request.body, status, body };
    await this.#write(line(recorded));
    this.#answers.set(key, recorded);
    return response;
  }

  /** One line after the other: they are whole, whoever asks at once. */
  async #write(written: string): Promise<void> {
    this.#written = this.#written.catch(() => {}).then(() => this.#file.appendFile(written));
    await orUnreadable(this.#path, () => this.#written);
  }
}

function line(value: unknown): string {
  return `${JSON.stringify(value)}\n`;
}

/** The text of a tape's whole lines, for what is added to begin a new one. */
async function dropCutLine(path: string): Promise<string> {
  const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) =>
    error.code === "ENOENT" ? "" : Promise.reject(unreadable(path, error)),
  );
  const whole = text.slice(0, text.lastIndexOf("\n") + 1);
  if (whole.length < text.length) await orUnreadable(path, () => truncate(path, Buffer.byteLength(whole)));
  return whole;
}

function parsed(path: string, text: string): { header: TapeHeader; recorded: readonly Recorded[] } {
  const lines = text.split("\n");
  lines.pop(); // empty, or cut off by a kill
  const [first = "", ...others] = lines;
  return {
    header: parseLine(path, 1, first, Header),
    recorded: others.map((written, at) => parseLine(path, at + 2, written, Recorded)),
  };
}

function parseLine<Schema extends z.ZodType>(
  path: string,
  line: number,
  written: string,
  schema: Schema,
): z.infer<Schema> {
  try {
    return schema.parse(JSON.parse(written));
  } catch (cause) {
    throw new LoregraphError("FILE_UNREADABLE", `${path}: line ${line} is none of a tape`, { cause });
  }
}

async function orUnreadable<Result>(path: string, work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    throw unreadable(path, error);
  }
}

function unreadable(path: string, cause: unknown): LoregraphError {
  return new LoregraphError("FILE_UNREADABLE", `the tape ${path} cannot be used: ${messageOf(cause)}`, {
    cause,
  });
}

import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as thinking } from "node:timers/promises";
import { z } from "zod";
import { sha256 } from "../../src/hash.ts";
import { answerTo, Question } from "./pipelines.ts";
import { between, fraction } from "./random.ts";

/** One question that reached the double. Times are milliseconds since 1970, of this machine, as Postgres has them. */
export type Call = Question & {
  /** The process that asked. */
  readonly worker: string;
  readonly at: number;
  answered?: boolean;
};

export type Double = {
  /** The base URL of an OpenAI-compatible server. */
  readonly url: string;
  readonly calls: readonly Call[];
  close(): Promise<void>;
};

export type Temper = {
  readonly seed: number;
  /** How many of a hundred chat questions go wrong: too many, broken, slow or never answered. */
  readonly troubles: number;
  /** The least and the longest ordinary answer takes, in milliseconds. */
  readonly thinksMs: readonly [number, number];
};

/** A model server that answers from the question alone, misbehaves as its seed says, and remembers who asked what. */
export async function startDouble(temper: Temper): Promise<Double> {
  const calls: Call[] = [];
  const asked = new Map<string, number>();
  const server = createServer((request, response) => {
    answer(request, response).catch(() => response.destroy());
  });

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const at = Date.now();
    const body: unknown = JSON.parse(await textOf(request));
    if (request.url?.endsWith("/embeddings")) return send(response, 200, embedded(body));
    const question = Question.parse(JSON.parse(Asked.parse(body).messages[0].content));
    const call: Call = {
      ...question,
      at,
      worker: String(request.headers.authorization).replace("Bearer ", ""),
    };
    calls.push(call);
    const key = `${question.node} ${question.about}`;
    const nth = (asked.get(key) ?? 0) + 1;
    asked.set(key, nth);
    await answerAs(mood(temper, `${key} ${nth}`), response, call);
  }

  async function answerAs(how: Mood, response: ServerResponse, call: Call): Promise<void> {
    const { seed, thinksMs } = temper;
    if (how === "silent") return;
    if (how === "limited")
      return send(response, 429, problem("rate_limit_exceeded"), { "retry-after-ms": "150" });
    if (how === "broken") return send(response, 500, problem("server_error"));
    await thinking(how === "slow" ? 1_000 : between(seed, `${call.node} ${call.about}`, ...thinksMs));
    call.answered = true;
    send(response, 200, completion(answerTo(call)));
  }

  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    calls,
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

type Mood = "well" | "limited" | "broken" | "slow" | "silent";

function mood({ seed, troubles }: Temper, what: string): Mood {
  const at = fraction(seed, `mood ${what}`) * 100;
  if (at >= troubles) return "well";
  const share = at / troubles;
  if (share < 0.4) return "limited";
  if (share < 0.7) return "broken";
  return share < 0.95 ? "slow" : "silent";
}

const Asked = z.object({ messages: z.tuple([z.object({ content: z.string() })], z.unknown()) });
const Embedded = z.object({
  input: z.union([z.string(), z.array(z.string())]),
  encoding_format: z.string().optional(),
});

/** Eight numbers that depend on the text alone, exact as 32-bit floats. */
export function vectorOf(text: string): readonly number[] {
  return [...Buffer.from(sha256(text), "hex").subarray(0, 8)].map((byte) => byte / 256);
}

function embedded(body: unknown) {
  const { input, encoding_format } = Embedded.parse(body);
  const data = [input].flat().map((text, index) => {
    const vector = vectorOf(text);
    const packed = Buffer.from(Float32Array.from(vector).buffer).toString("base64");
    return { object: "embedding", index, embedding: encoding_format === "base64" ? packed : vector };
  });
  return { object: "list", model: "double", data, usage: { prompt_tokens: 1, total_tokens: 1 } };
}

function completion(content: string) {
  return {
    id: "chatcmpl-double",
    object: "chat.completion",
    created: 0,
    model: "double",
    choices: [{ index: 0, message: { role: "assistant", content }, finish_reason: "stop" }],
    usage: { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 },
  };
}

const problem = (code: string) => ({ error: { message: "not now", type: code, code } });

function send(
  response: ServerResponse,
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
): void {
  response.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(body));
}

async function textOf(request: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part);
  return Buffer.concat(parts).toString("utf8");
}

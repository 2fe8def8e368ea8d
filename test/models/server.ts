import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, onTestFinished } from "vitest";
import type { ModelSettings } from "../../src/config.ts";
import { fetchThrough } from "../../src/models/fetch.ts";
import { chain } from "../../src/models/layers.ts";
import { network } from "../../src/models/network.ts";
import { listPrices } from "../../src/models/prices.ts";
import { type UsageRecorder, usageRecorder } from "../../src/models/usage.ts";

/** Not a key: it stands where one would, so that tests can look for it in what is thrown. */
export const key = "key-that-must-stay-secret";
/** Stands in every prompt and answer, for the same reason. */
export const secret = "Rumpelstiltskin";

export function settingsFor(url: string, more: Partial<ModelSettings> = {}): ModelSettings {
  return {
    apiKey: key,
    baseUrl: `${url}/v1`,
    chatModel: "gpt-4o-mini",
    embeddingModel: "text-embedding-3-small",
    timeoutMs: 5_000,
    prices: undefined,
    ...more,
  };
}

export const localSettings: ModelSettings = settingsFor("", { apiKey: undefined, baseUrl: undefined });

/** A way to the network that counts what passes, as one attempt is lent it. */
export function counted(timeoutMs = 5_000): { readonly usage: UsageRecorder; readonly fetch: typeof fetch } {
  const usage = usageRecorder();
  const asking = {
    prices: listPrices,
    asker: undefined,
    gate: async () => {},
    fallbacks: [],
    onCall: usage.called,
  };
  return { usage, fetch: fetchThrough(chain({}, network(timeoutMs)), asking) };
}

export type Answer = {
  readonly status?: number;
  readonly headers?: Record<string, string>;
  readonly body: unknown;
};

type Request = { readonly path: string; readonly body: Record<string, unknown> };

/** A model server on loopback that says what a test wants said, where aimock cannot say it. */
export async function serverAnswering(answer: (request: Request) => Answer): Promise<{
  readonly url: string;
  readonly requests: readonly Request[];
}> {
  const requests: Request[] = [];
  const url = await listen(async (incoming, response) => {
    const request = { path: incoming.url ?? "", body: JSON.parse(await textOf(incoming)) };
    requests.push(request);
    const { status = 200, headers = {}, body } = answer(request);
    response.writeHead(status, { "content-type": "application/json", ...headers });
    response.end(typeof body === "string" ? body : JSON.stringify(body));
  });
  return { url, requests };
}

/** A server that begins with `first`, where given, and then says nothing more. `asked` resolves at the first request. */
export async function silentServer(first?: string): Promise<{ url: string; asked: Promise<void> }> {
  const { promise: asked, resolve } = Promise.withResolvers<void>();
  const url = await listen((_, response) => {
    if (first !== undefined) response.writeHead(200, { "content-type": "application/json" }).write(first);
    resolve();
  });
  return { url, asked };
}

/** A server that hangs up in the middle of its answer. */
export async function breakingServer(): Promise<string> {
  return await listen((_, response) => {
    response.writeHead(200, { "content-type": "application/json", "content-length": "1000" });
    response.write('{"id":', () => response.destroy());
  });
}

/** Where nothing listens. */
export async function closedUrl(): Promise<string> {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return `http://127.0.0.1:${port}`;
}

async function listen(
  handle: (request: IncomingMessage, response: ServerResponse) => unknown,
): Promise<string> {
  const server = createServer(handle).listen(0, "127.0.0.1");
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  await new Promise((resolve) => server.once("listening", resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function textOf(incoming: IncomingMessage): Promise<string> {
  const parts = await incoming.setEncoding("utf8").toArray();
  return parts.join("");
}

/** Checks that `date` is so many seconds after a moment between `since` and now. A date in a header has whole seconds. */
export function expectWait(date: Date | undefined, seconds: number, since: number): void {
  const moment = (date?.getTime() ?? Number.NaN) - seconds * 1_000;
  expect(moment).toBeGreaterThanOrEqual(since - 1_000);
  expect(moment).toBeLessThanOrEqual(Date.now());
}

/** A chat completion as OpenAI answers it, billed 1,000 tokens in, 200 of them cached, and 100 out. */
export function completion(message: Record<string, unknown>, finish_reason = "stop"): Answer {
  return {
    body: {
      id: "chatcmpl-1",
      object: "chat.completion",
      created: 1,
      model: "gpt-4o-mini",
      choices: [{ index: 0, message: { role: "assistant", content: null, ...message }, finish_reason }],
      usage: {
        prompt_tokens: 1_000,
        completion_tokens: 100,
        total_tokens: 1_100,
        prompt_tokens_details: { cached_tokens: 200 },
      },
    },
  };
}

/** Embeddings as OpenAI answers them, two tokens billed for each text. */
export function embeddings(vectors: readonly (readonly number[])[]): Answer {
  const data = vectors.map((embedding, index) => ({ object: "embedding", index, embedding }));
  const tokens = vectors.length * 2;
  return {
    body: {
      object: "list",
      data,
      model: "text-embedding-3-small",
      usage: { prompt_tokens: tokens, total_tokens: tokens },
    },
  };
}

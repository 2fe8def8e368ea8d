import { Readable } from "node:stream";
import type { FastifyReply } from "fastify";
import { LoregraphError } from "../errors.ts";
import type { App } from "./services.ts";

/**
 * A server-sent event; `data` goes as JSON. A client that comes back names the last `id` that it got, be it of a message
 * without data, which it shows to nobody.
 */
export type Message = { readonly id?: number | string; readonly event?: string; readonly data?: unknown };

export type StreamLimits = {
  /** The most streams at a time. Defaults to 200. */
  readonly most?: number;
  /** The most of one tenant. Defaults to 20. */
  readonly mostOfOne?: number;
  /** Milliseconds between signs of life; a client that read nothing from one to the next is dropped. Defaults to 15 s. */
  readonly heartbeatMs?: number;
  /** Milliseconds until a stream ends and its client comes back, if its key still may. Defaults to 15 min. */
  readonly longestMs?: number;
};

const quarterHourMs = 900_000;

/** For the options of a route of streams: a HEAD of it would open one. */
export const streamRoute = { exposeHeadRoute: false } as const;

/**
 * Makes what opens the streams of a resource's routes; they end when the app closes. The handler returns its reply once
 * the stream is open.
 *
 *     const open = openStreams(app);
 *     app.get(url, { ...streamRoute, … }, async ({ params }, reply) => {
 *       const stream = open(reply, params.tenant_id); // throws TOO_MANY_REQUESTS
 *       stream.send({ id: 7, event: "progress", data: { done: 1 } });
 *       return reply;
 *     });
 */
export function openStreams(
  app: App,
  { most = 200, mostOfOne = 20, heartbeatMs = 15_000, longestMs = quarterHourMs }: StreamLimits = {},
): (reply: FastifyReply, tenant_id: string) => Stream {
  const opened = new Map<Stream, string>();
  app.addHook("preClose", async () => {
    for (const stream of opened.keys()) stream.end();
  });
  return (reply, tenant_id) => {
    assertRoom([...opened.values()], tenant_id, most, mostOfOne);
    const stream = new Stream(reply, heartbeatMs, longestMs);
    opened.set(stream, tenant_id);
    stream.signal.addEventListener("abort", () => opened.delete(stream), { once: true });
    return stream;
  };
}

function assertRoom(opened: readonly string[], tenant_id: string, most: number, mostOfOne: number): void {
  const full = opened.length >= most;
  if (!full && opened.filter((other) => other === tenant_id).length < mostOfOne) return;
  const message = full
    ? `${most} streams are open already`
    : `${mostOfOne} streams of this tenant are open already`;
  throw new LoregraphError("TOO_MANY_REQUESTS", message, { after: new Date(Date.now() + 5_000) });
}

const fullFrom = 65_536;
const mostUnread = 1_048_576;
const lastWordsMs = 1_000;

/** An answer that goes on until its client goes, the app closes, or somebody ends it. */
export class Stream {
  readonly #ended = new AbortController();
  readonly #body: Readable;
  readonly #heartbeat: NodeJS.Timeout;
  readonly #longest: NodeJS.Timeout;
  #room = Promise.withResolvers<void>();
  #read = true;

  constructor(reply: FastifyReply, heartbeatMs: number, longestMs: number) {
    this.#body = new Readable({ highWaterMark: fullFrom, read: () => this.#wasRead() });
    this.#body.once("close", () => this.end());
    this.#heartbeat = setInterval(() => this.#beat(), heartbeatMs);
    this.#longest = setTimeout(() => this.end(), longestMs);
    this.#write("retry: 1000\n\n"); // the answer's head goes with its first bytes
    reply.headers(headers).send(this.#body);
  }

  /** Aborts when the stream ends, whoever ended it. */
  get signal(): AbortSignal {
    return this.#ended.signal;
  }

  /** Sends a message; after the end it does nothing. A client that leaves 1 MiB unread is dropped. */
  send(message: Message): void {
    this.#write(written(message));
  }

  /** Is the client behind with reading? Then wait for `room`. */
  get full(): boolean {
    return this.#body.readableLength >= fullFrom;
  }

  /** Resolves once the client is no longer behind, or gone. */
  async room(): Promise<void> {
    while (this.full && !this.signal.aborted) await this.#room.promise;
  }

  /** Ends it, after what was sent. A client that does not read has a second for that. */
  end(): void {
    if (this.signal.aborted) return;
    clearInterval(this.#heartbeat);
    clearTimeout(this.#longest);
    this.#ended.abort();
    this.#room.resolve();
    if (this.#body.destroyed) return;
    this.#body.push(null);
    const lastWords = setTimeout(() => this.#body.destroy(), lastWordsMs);
    this.#body.once("close", () => clearTimeout(lastWords));
  }

  #write(text: string): void {
    if (this.signal.aborted || this.#body.destroyed) return;
    if (this.#body.readableLength > mostUnread) this.#body.destroy();
    else this.#body.push(text); // whatever its length: a message that could never be sent would be asked for forever
  }

  #wasRead(): void {
    this.#read = true;
    this.#room.resolve();
    this.#room = Promise.withResolvers();
  }

  #beat(): void {
    if (this.full && !this.#read) this.#body.destroy();
    this.#read = false;
    this.#write(":\n\n");
  }
}

const headers = {
  "content-type": "text/event-stream; charset=utf-8",
  "cache-control": "no-store",
  "x-accel-buffering": "no", // nginx would hold it back
  connection: "close", // kept alive after its end, it would keep the closing server, too
};

function written({ id, event, data }: Message): string {
  const numbered = id === undefined ? "" : `id: ${oneLine(String(id))}\n`;
  const named = event === undefined ? "" : `event: ${oneLine(event)}\n`;
  const carried = data === undefined ? "" : `data: ${JSON.stringify(data)}\n`;
  return `${numbered}${named}${carried}\n`;
}

function oneLine(text: string): string {
  return text.replace(/[\r\n\0]/g, " ");
}

import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { onTestFinished } from "vitest";
import type { SentEvent } from "../../src/store/deliveries.ts";

/** A delivery as it came in. */
export type Received = {
  readonly headers: Record<string, string>;
  readonly body: string;
  readonly event: SentEvent;
};

/** Answers a delivery: a status, or whatever it does with the response. By default 204. */
export type Answering = (
  received: Received,
  response: ServerResponse,
) => Promise<number | undefined> | number | undefined;

export type Subscriber = {
  readonly url: string;
  /** What came in, in order. */
  readonly received: readonly Received[];
  /** How many connections were made. */
  readonly connections: number;
  /** Resolves once this many deliveries came in. */
  heard(count: number): Promise<void>;
  answer(answering: Answering): void;
  /** Takes no more connections, and breaks those there are. */
  die(): Promise<void>;
};

/** A subscriber over real HTTP, on loopback. It ends with its test. */
export async function startSubscriber(answering: Answering = () => 204): Promise<Subscriber> {
  const received: Received[] = [];
  let answer = answering;
  let connections = 0;
  let tell = Promise.withResolvers<void>();
  const server = createServer(async (request, response) => {
    const delivery = await read(request);
    received.push(delivery);
    tell.resolve();
    tell = Promise.withResolvers();
    const status = await answer(delivery, response);
    if (status !== undefined && !response.destroyed) response.writeHead(status).end();
  });
  server.on("connection", () => {
    connections++;
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const die = async () => {
    if (!server.listening) return;
    const closed = once(server, "close");
    server.close();
    server.closeAllConnections();
    await closed;
  };
  onTestFinished(die);
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/events`,
    received,
    get connections() {
      return connections;
    },
    async heard(count) {
      while (received.length < count) await tell.promise;
    },
    answer(next) {
      answer = next;
    },
    die,
  };
}

async function read(request: IncomingMessage): Promise<Received> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part);
  const body = Buffer.concat(parts).toString();
  return { headers: request.headers as Record<string, string>, body, event: JSON.parse(body) };
}

/** What Node would answer by itself, if we let it: without a body, and in words of its own. */

import { randomUUID } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { LoregraphError } from "../errors.ts";
import { problemOf, problemType } from "./problem.ts";
import type { App } from "./services.ts";

/** The options by which Node leaves to us what it can. A request has so many milliseconds to arrive. */
export function heedRequests(arrivalMs: number) {
  const http = { requireHostHeader: false, connectionsCheckingInterval: arrivalMs / 12 }; // else it looks every 30 s
  return { requestTimeout: arrivalMs, clientErrorHandler: refuseMalformed, http } as const;
}

/** Refuses a request that names no host, or several; takes one that expects something as one that does not. */
export function judgeHeads(app: App): void {
  app.server.on("checkExpectation", (request, response) => app.server.emit("request", request, response));
  app.addHook("onRequest", async ({ raw }) => {
    if (raw.httpVersion === "1.0" || hostsOf(raw) === 1) return;
    throw new LoregraphError("INPUT_INVALID", "Host: expected it once");
  });
}

function hostsOf({ rawHeaders }: IncomingMessage): number {
  return rawHeaders.filter((each, at) => at % 2 === 0 && each.toLowerCase() === "host").length;
}

/** More than any client that means well sends before it gets an answer. */
const mostAtOnce = 100;

/** Hangs up on who sends request after request and awaits no answer: all of those would have to be kept for it. */
export function limitPipelines(app: App): void {
  const unanswered = new WeakMap<Socket, number>();
  const add = (socket: Socket, more: number) => {
    const count = (unanswered.get(socket) ?? 0) + more;
    unanswered.set(socket, count);
    return count;
  };
  app.server.on("request", ({ socket }, response) => {
    response.once("close", () => add(socket, -1));
    if (add(socket, 1) > mostAtOnce) socket.destroy();
  });
}

/** Who got an answer has so many milliseconds to hang up. */
const lingerMs = 1_000;
const leaving = new WeakSet<Socket>();

/** What Node is about to answer on a connection; it asks the same before it refuses by itself. */
type Busy = Socket & { readonly _httpMessage?: ServerResponse | null };

/**
 * Answers what is no HTTP request at all, or took too long to become one; Node has no reply for it. In the middle of
 * another answer it would be taken for a part of that: then the connection only breaks.
 */
function refuseMalformed(error: NodeJS.ErrnoException, socket: Busy): void {
  if (leaving.has(socket)) return; // more of the same
  const isAnswering = socket._httpMessage?.headersSent ?? false;
  if (error.code === "ECONNRESET" || !socket.writable || isAnswering) return void socket.destroy();
  const body = JSON.stringify(problemOf(new LoregraphError("INPUT_INVALID", malformed(error)), randomUUID()));
  const head = `HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: ${problemType}`;
  socket.end(`${head}\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
  leaving.add(socket);
  setTimeout(() => socket.destroy(), lingerMs).unref();
}

function malformed({ code }: NodeJS.ErrnoException): string {
  if (code === "HPE_HEADER_OVERFLOW") return "the headers are too large";
  if (code === "ERR_HTTP_REQUEST_TIMEOUT") return "the request took too long to arrive";
  return "this is not HTTP";
}

import * as http from "node:http";
import * as https from "node:https";
import { Webhook } from "standardwebhooks";
import type { WebhookSettings } from "../config.ts";
import { LoregraphError, loregraphError } from "../errors.ts";
import type { SentEvent } from "../store/deliveries.ts";
import { holdsPrivateAddress, notPublic, publicLookup } from "./address.ts";

/** An event on its way to one subscriber. */
export type Delivery = {
  /** The same each time that it is sent, so that the subscriber can drop what it has. */
  readonly id: string;
  readonly url: string;
  readonly secret: string;
  readonly event: SentEvent;
};

/** What a subscriber answered; its body is nobody's business. */
export type Answer = {
  readonly status: number;
  /** When it wants to be asked again. */
  readonly after?: Date | undefined;
};

/** Sends one delivery. Throws WEBHOOK_FAILED where no answer came, and the signal's reason where that fired. */
export type Send = (delivery: Delivery, signal?: AbortSignal) => Promise<Answer>;

/** How connections are kept: a minute, and only as many to a host as deliveries to a webhook may go on at a time. */
const kept = { keepAlive: true, maxFreeSockets: 2, timeout: 60_000 };

/** How long an answer is waited for, and whether private addresses may be sent to. */
export type Sending = Pick<WebhookSettings, "timeoutMs" | "toPrivate">;

/**
 * Opens what sends deliveries in the form of Standard Webhooks. Redirects are not followed, and connections go only
 * to public addresses unless the settings say otherwise; they are kept open for the next delivery.
 */
export function openSender({ timeoutMs, toPrivate }: Sending): Send {
  const agents = { http: new http.Agent(kept), https: new https.Agent(kept) };
  const connecting = toPrivate ? {} : { lookup: publicLookup() };
  return async ({ id, url, secret, event }, signal) => {
    signal?.throwIfAborted();
    const target = new URL(url);
    const timeout = AbortSignal.timeout(timeoutMs);
    try {
      if (!toPrivate && holdsPrivateAddress(target)) throw notPublic(); // addresses are not looked up
      return await post(target, {
        ...connecting,
        agent: target.protocol === "https:" ? agents.https : agents.http,
        signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
        ...signed({ id, secret, event }),
      });
    } catch (error) {
      signal?.throwIfAborted();
      throw timeout.aborted ? failed(`did not answer within ${timeoutMs} ms`, error) : unanswered(error);
    }
  };
}

type Signed = { readonly headers: http.OutgoingHttpHeaders; readonly body: string };

function signed({ id, secret, event }: Omit<Delivery, "url">): Signed {
  const [at, body] = [new Date(), JSON.stringify(event)];
  const headers = {
    "content-type": "application/json",
    "content-length": Buffer.byteLength(body),
    "user-agent": "loregraph",
    "webhook-id": id,
    "webhook-timestamp": String(Math.floor(at.getTime() / 1000)),
    "webhook-signature": new Webhook(secret).sign(id, at, body),
  };
  return { headers, body };
}

type Posting = http.RequestOptions & Signed;

/** A connection that was kept open may just have been closed by the other side: then it is done again on another. */
async function post(url: URL, posting: Posting): Promise<Answer> {
  for (;;) {
    const request = requestTo(url, posting);
    try {
      return await answerOf(await responseTo(request, posting.body));
    } catch (error) {
      if (!request.reusedSocket || posting.signal?.aborted || codeOf(error) !== "ECONNRESET") throw error;
    }
  }
}

function requestTo(url: URL, { headers, body: _, ...options }: Posting): http.ClientRequest {
  const { request } = url.protocol === "https:" ? https : http;
  return request(url, { ...options, headers, method: "POST" });
}

async function responseTo(request: http.ClientRequest, body: string): Promise<http.IncomingMessage> {
  return await new Promise((resolve, reject) => {
    request.on("response", resolve).on("error", reject).end(body);
  });
}

async function answerOf(response: http.IncomingMessage): Promise<Answer> {
  await discard(response);
  const { statusCode: status = 0, headers } = response;
  return { status, after: retryAfter(headers["retry-after"]) };
}

/** The most of an answer's body that is read, in bytes, for its connection to be used again. */
const mostOfBody = 16_384;

/** The status is all that counts, and that is here: however the body ends, this resolves. */
async function discard(response: http.IncomingMessage): Promise<void> {
  let read = 0;
  await new Promise<void>((resolve) => {
    response.on("data", (chunk: Buffer) => {
      read += chunk.length;
      if (read > mostOfBody) response.destroy();
    });
    response
      .on("end", resolve)
      .on("close", resolve)
      .on("error", () => resolve());
  });
}

/** Seconds or a date, as RFC 9110 has it. */
function retryAfter(header: string | undefined): Date | undefined {
  if (header === undefined) return undefined;
  const at = /^\d+$/.test(header) ? Date.now() + Number(header) * 1000 : Date.parse(header);
  return Number.isNaN(new Date(at).getTime()) ? undefined : new Date(at);
}

function unanswered(error: unknown): LoregraphError {
  return loregraphError(error) ?? failed(`could not be reached: ${codeOf(error)}`, error);
}

function failed(how: string, cause?: unknown): LoregraphError {
  return new LoregraphError("WEBHOOK_FAILED", `the subscriber ${how}`, { cause });
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "unknown error";
}

import { billedTokens, costOf } from "./billed.ts";
import type { ModelCall } from "./calls.ts";
import type { Asker, Gate, ModelRequest, ModelResponse, Send } from "./layers.ts";
import type { Prices } from "./prices.ts";
import { requestOf } from "./request.ts";

/** Who asks through a `fetch`, and who is told of what was answered. */
export type Asking = {
  readonly prices: Prices;
  readonly asker: Asker | undefined;
  readonly gate: Gate;
  /** The models that may answer where the first cannot. */
  readonly fallbacks: readonly string[];
  /** Holds the attempt's time while a question waits for its turn. */
  readonly hold?: (() => Disposable) | undefined;
  readonly onCall: (call: ModelCall) => unknown;
};

/**
 * A `fetch` for the clients of model servers: each request goes through the chain, and each answer is told. LangChain
 * tells of usage only where it could read the answer, but one that was cut off or malformed is paid for too.
 */
export function fetchThrough(send: Send, { prices, onCall, ...asking }: Asking): typeof fetch {
  return async (input, init) => {
    const request = requestOf(input, init, asking);
    const began = performance.now();
    const response = await send(request);
    if (isOk(response)) await onCall(callOf(request, response, performance.now() - began, prices));
    const { body, status, headers } = response;
    return new Response(body, { status, headers });
  };
}

function isOk({ status }: ModelResponse): boolean {
  return status >= 200 && status < 300;
}

function callOf(request: ModelRequest, response: ModelResponse, ms: number, prices: Prices): ModelCall {
  const { kind, node, key } = request;
  const { from, model } = response;
  const answer = jsonOf(response.body);
  const tokens = billedTokens(answer);
  const usd = costOf(prices, kind, model, tokens);
  const paid = from === "provider";
  return {
    kind,
    model,
    node,
    key,
    from,
    tokens_in: tokens.in,
    tokens_cached: tokens.cached,
    tokens_out: tokens.out,
    cost_usd: paid ? usd : 0,
    saved_usd: paid ? 0 : usd,
    ms: response.ms ?? ms,
    request: request.body,
    response: answer,
  };
}

// That the body is no JSON is the client's to raise, when it reads the same body.
function jsonOf(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return body;
  }
}

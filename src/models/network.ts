import type { ModelResponse, Send } from "./layers.ts";

/**
 * Asks the model server, once, and reads the whole answer: at most `timeoutMs` for both, counted from when the request
 * leaves, not from when it began to wait for its turn. Throws what `fetch` throws.
 */
export function network(timeoutMs: number): Send {
  return async (request) => {
    const { gate, url, headers, body, model } = request;
    await gate(request);
    const asked = performance.now();
    const response = await fetch(url, {
      method: "POST",
      headers: withoutLength(headers),
      body: JSON.stringify(body),
      signal: within(timeoutMs, request.signal),
    });
    const answer: ModelResponse = {
      status: response.status,
      headers: response.headers,
      body: await response.text(),
      from: "provider",
      model,
      ms: performance.now() - asked,
    };
    return answer;
  };
}

function within(timeoutMs: number, signal: AbortSignal | undefined): AbortSignal {
  const timeout = AbortSignal.timeout(timeoutMs);
  return signal ? AbortSignal.any([signal, timeout]) : timeout;
}

/** A layer may have changed the body. */
function withoutLength(headers: Headers): Headers {
  const without = new Headers(headers);
  without.delete("content-length");
  return without;
}

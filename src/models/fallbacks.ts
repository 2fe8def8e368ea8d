import { loregraphError } from "../errors.ts";
import type { Layer, ModelResponse } from "./layers.ts";
import { withModel } from "./request.ts";

/** How long a call waits for its turn where another model could be asked instead, in milliseconds. */
const patienceMs = 5_000;

/**
 * Asks the request's other models, in their order, where the one before did not answer: it cannot be reached, failed,
 * refuses for longer than a call may wait, or its breaker is open. What the last one says is the answer.
 */
export const fallbacks: Layer = (next) => async (request) => {
  const models = request.kind === "chat" ? [request.model, ...request.fallbacks] : [request.model];
  for (const model of models.slice(0, -1)) {
    const response = await next({ ...withModel(request, model), patienceMs }).catch((error: unknown) => {
      if (!isAway(error, request.signal)) throw error;
    });
    if (response !== undefined && !isUnavailable(response)) return response;
  }
  return await next(withModel(request, models.at(-1) ?? request.model));
};

function isUnavailable({ status }: ModelResponse): boolean {
  return status >= 500 || status === 429 || status === 408;
}

/** Not whoever gave up, nor what another model would meet as well. */
function isAway(error: unknown, signal: AbortSignal | undefined): boolean {
  if (signal?.aborted) return false;
  const known = loregraphError(error);
  return known === undefined || known.code === "RATE_LIMITED" || known.code === "MODEL_UNREACHABLE";
}

import type { Db } from "../../db.ts";
import { loregraphError } from "../../errors.ts";
import { billedTokens } from "../billed.ts";
import { jsonOf } from "../json.ts";
import type { Layer, ModelRequest, ModelResponse } from "../layers.ts";
import { type CallEnd, type Pace, type Turn, TurnQueue } from "./queue.ts";
import { refusalOf } from "./refusal.ts";
import type { ModelLimits } from "./settings.ts";
import { toldLimit } from "./told.ts";

export type LimitOptions = {
  /** Where all processes share what they know of a model. */
  readonly db: Db;
  readonly limitsOf: (model: string) => ModelLimits;
  /** How long a call may take, in milliseconds. */
  readonly callMs: number;
  /** How long a call may wait for its turns, in milliseconds: longer waits are the ledger's. Defaults to 20 s. */
  readonly patienceMs?: number | undefined;
  /** Told when this process finds that a model is not to be asked for a while, in milliseconds. */
  readonly onOpened?: ((model: string, forMs: number) => void) | undefined;
};

/** So much less than a limit is used: calls that come a little early or late must not push a minute over it. */
const margin = 0.985;

/**
 * Lets each call wait for its turn among those of all processes, so that no model is asked more than it allows; asks
 * again where the provider refused it nevertheless; and asks nothing of a model that does not answer.
 *
 * A call whose turn does not come within `patienceMs` throws RATE_LIMITED, one to a model whose breaker is open
 * MODEL_UNREACHABLE; both name when to come back, and cost no attempt.
 */
export function limits(options: LimitOptions): Layer {
  const lines = new Map<string, Line>();
  const lineOf = (request: ModelRequest): Line => {
    const provider = new URL(request.url).host;
    const key = `${provider} ${request.model}`;
    const line = lines.get(key) ?? new Line(provider, request.model, options);
    lines.set(key, line);
    return line;
  };
  return (next) => async (request) => {
    const line = lineOf(request);
    const until = performance.now() + (request.patienceMs ?? options.patienceMs ?? 20_000);
    for (;;) {
      const response = await line.ask(request, until - performance.now(), next);
      const refusal = refusalOf(response);
      if (refusal === undefined || performance.now() + refusal.waitMs > until) return response;
    }
  };
}

/** One model of a provider: its queue, and what its answers tell of limits and tokens. */
class Line {
  readonly #queue: TurnQueue;
  readonly #limits: ModelLimits;
  #told: { readonly requests?: number | undefined; readonly tokens?: number | undefined } = {};
  /** Tokens of a call, those of its answer among them, by each four characters that it asks. */
  #tokensPerFour = 1;

  constructor(provider: string, model: string, { db, limitsOf, callMs, onOpened }: LimitOptions) {
    this.#limits = limitsOf(model);
    this.#queue = new TurnQueue({
      ...{ db, provider, model, callMs },
      pace: () => this.#pace(),
      onOpened: (forMs) => onOpened?.(model, forMs),
    });
  }

  async ask(
    request: ModelRequest,
    patienceMs: number,
    next: (request: ModelRequest) => Promise<ModelResponse>,
  ): Promise<ModelResponse> {
    const characters = this.#pace().tokens === undefined ? 0 : JSON.stringify(request.body).length;
    const tokens = (characters / 4) * this.#tokensPerFour;
    const turn = await this.#takeTurn(request, tokens, patienceMs);
    const response = await next(request).catch(async (error: unknown) => {
      await turn.end(endOfError(error, request.signal));
      throw error;
    });
    await turn.end(this.#endOf(response, characters, tokens));
    return response;
  }

  async #takeTurn({ signal, hold }: ModelRequest, tokens: number, patienceMs: number): Promise<Turn> {
    using _ = hold?.();
    return await this.#queue.take({ tokens, signal, patienceMs });
  }

  /** The least of what is configured and what the provider tells, once that is near. */
  #pace(): Pace {
    const { requests_per_minute, tokens_per_minute, concurrency } = this.#limits;
    return {
      requests: least(perSecond(requests_per_minute), this.#told.requests),
      tokens: least(perSecond(tokens_per_minute), this.#told.tokens),
      concurrency,
    };
  }

  #endOf(response: ModelResponse, characters: number, tokens: number): CallEnd {
    this.#heed(response.headers);
    const refusal = refusalOf(response);
    if (refusal !== undefined) return { kind: "refused", ...refusal };
    const { status } = response;
    if (status >= 500 || status === 408)
      return { kind: "failed", overloaded: [408, 503, 529].includes(status) };
    return {
      kind: "answered",
      tokensMore: characters > 0 ? this.#tokensMore(response, characters, tokens) : 0,
    };
  }

  #heed(headers: Headers): void {
    const [requests, tokens] = [toldLimit(headers, "requests"), toldLimit(headers, "tokens")];
    if (requests) this.#told = { ...this.#told, requests: pacedBy(requests) };
    if (tokens) this.#told = { ...this.#told, tokens: pacedBy(tokens) };
  }

  /** What it really used is known now, and guesses get better. */
  #tokensMore({ body }: ModelResponse, characters: number, tokens: number): number {
    const billed = billedTokens(jsonOf(body));
    const used = billed.in + billed.out;
    if (used === 0) return 0;
    const seen = Math.min(16, Math.max(0.1, used / (characters / 4)));
    this.#tokensPerFour = 0.8 * this.#tokensPerFour + 0.2 * seen;
    return Math.round(used - tokens);
  }
}

function perSecond(perMinute: number | undefined): number | undefined {
  return perMinute === undefined ? undefined : (perMinute / 60) * margin;
}

function pacedBy({ perSecond, isNear }: { perSecond: number; isNear: boolean }): number | undefined {
  return isNear ? perSecond * margin : undefined;
}

function least(...values: readonly (number | undefined)[]): number | undefined {
  const given = values.filter((value) => value !== undefined);
  return given.length > 0 ? Math.min(...given) : undefined;
}

/** Whoever gives up a call, or is not let begin it, learns nothing about the server. */
function endOfError(error: unknown, signal: AbortSignal | undefined): CallEnd {
  if (signal?.aborted || loregraphError(error) !== undefined) return { kind: "dropped" };
  return { kind: "failed", overloaded: error instanceof Error && error.name === "TimeoutError" };
}

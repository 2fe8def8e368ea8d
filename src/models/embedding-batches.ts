import { z } from "zod";
import { mostBytes, mostTexts } from "./embeddings.ts";
import { jsonOf } from "./json.ts";
import type { Layer, ModelRequest, ModelResponse, Send } from "./layers.ts";
import { keyOf } from "./request.ts";

/** How long a request waits for others, in milliseconds. */
const waitMs = 5;

type Member = {
  readonly request: ModelRequest;
  readonly input: readonly string[];
  readonly bytes: number;
  readonly answer: (response: ModelResponse) => void;
  readonly refuse: (error: unknown) => void;
};

/**
 * Sends the embedding requests that attempts of this process make within a few milliseconds as one. Each gets its own
 * vectors, and its share of what was billed, by the length of its texts. One that gives up leaves the others alone, and
 * where the server refuses the whole, the halves are tried, until what is at fault is refused alone.
 */
export const embeddingBatches: Layer = (next) => {
  const groups = new Map<string, Group>();
  return async (request) => {
    const input = Input.safeParse(request.body.input).data;
    if (request.kind !== "embedding" || input === undefined) return await next(request);
    await request.gate(request);
    request.signal?.throwIfAborted();
    const key = keyOf([request.url, { ...request.body, input: null }]);
    const group = groups.get(key) ?? new Group(next);
    groups.set(key, group);
    return await group.join({ ...request, gate: async () => {} }, input);
  };
};

const Input = z.array(z.string());

/** Requests that differ in their texts alone. */
class Group {
  readonly #next: Send;
  #members: Member[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(next: Send) {
    this.#next = next;
  }

  async join(request: ModelRequest, input: readonly string[]): Promise<ModelResponse> {
    const { promise, resolve: answer, reject: refuse } = Promise.withResolvers<ModelResponse>();
    const bytes = input.reduce((sum, text) => sum + Buffer.byteLength(text), 0);
    if (!this.#hasRoomFor(input.length, bytes)) this.#leave();
    this.#members.push({ request, input, bytes, answer, refuse });
    this.#timer ??= setTimeout(() => this.#leave(), waitMs);
    const abort = () => refuse(request.signal?.reason);
    request.signal?.addEventListener("abort", abort, { once: true });
    try {
      return await promise;
    } finally {
      request.signal?.removeEventListener("abort", abort);
    }
  }

  #hasRoomFor(texts: number, bytes: number): boolean {
    const [held, heavy] = this.#members.reduce(
      ([n, sum], member) => [n + member.input.length, sum + member.bytes] as const,
      [0, 0] as readonly [number, number],
    );
    return held + texts <= mostTexts && heavy + bytes <= mostBytes;
  }

  #leave(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const members = this.#members.filter(({ request }) => !request.signal?.aborted);
    this.#members = [];
    if (members.length > 0) void askTogether(members, this.#next);
  }
}

async function askTogether(members: readonly Member[], next: Send): Promise<void> {
  try {
    const response = await next(joined(members));
    if (members.length > 1 && isRefusedForGood(response)) {
      const middle = members.length >> 1;
      await Promise.all(
        [members.slice(0, middle), members.slice(middle)].map((half) => askTogether(half, next)),
      );
      return;
    }
    for (const [nth, own] of shares(members, response).entries()) members[nth]?.answer(own);
  } catch (error) {
    for (const { refuse } of members) refuse(error);
  }
}

/** One text among them may be at fault; a key, a limit or the server itself would refuse each. */
function isRefusedForGood({ status }: ModelResponse): boolean {
  return status === 400 || status === 413 || status === 422;
}

/** One request for all. It is given up when all give up. */
function joined(members: readonly Member[]): ModelRequest {
  const [first] = members;
  if (first === undefined) throw new Error("expected a request to send, got: none");
  if (members.length === 1) return first.request;
  const body = { ...first.request.body, input: members.flatMap(({ input }) => input) };
  const signal = allOf(members.map(({ request }) => request.signal));
  const hold = () => holdAll(members);
  return { ...first.request, body, key: keyOf(body), node: undefined, asker: undefined, signal, hold };
}

function holdAll(members: readonly Member[]): Disposable {
  const holds = new DisposableStack();
  for (const { request } of members) holds.use(request.hold?.());
  return holds;
}

/** Fires when all of them have. */
function allOf(signals: readonly (AbortSignal | undefined)[]): AbortSignal | undefined {
  const given = signals.filter((signal) => signal !== undefined);
  if (given.length < signals.length) return undefined;
  const all = new AbortController();
  const look = () => {
    if (given.every(({ aborted }) => aborted)) all.abort(given[0]?.reason);
  };
  for (const signal of given) signal.addEventListener("abort", look, { once: true });
  look();
  return all.signal;
}

const count = z.int().nonnegative().catch(0);
const Answer = z.looseObject({
  data: z.array(z.looseObject({ index: z.int().nonnegative() })),
  usage: z.looseObject({ prompt_tokens: count }).catch({ prompt_tokens: 0 }),
});

/** The response as each member would have had it alone. What cannot be read is everyone's to refuse. */
function shares(members: readonly Member[], response: ModelResponse): readonly ModelResponse[] {
  const answer = members.length > 1 ? Answer.safeParse(jsonOf(response.body)).data : undefined;
  if (answer === undefined) return members.map(() => response);
  const tokens = shared(
    answer.usage.prompt_tokens,
    members.map(({ bytes }) => bytes),
  );
  let from = 0;
  return members.map(({ input }, nth) => {
    const [first, end] = [from, from + input.length];
    from = end;
    const data = answer.data
      .filter(({ index }) => index >= first && index < end)
      .map((each) => ({ ...each, index: each.index - first }));
    const usage = { prompt_tokens: tokens[nth], total_tokens: tokens[nth] };
    return { ...response, body: JSON.stringify({ ...answer, data, usage }) };
  });
}

/** A whole number shared out by weight, so that nothing is lost or billed twice. */
function shared(total: number, weights: readonly number[]): readonly number[] {
  const all = weights.reduce((sum, weight) => sum + weight, 0) || 1;
  let [weight, given] = [0, 0];
  return weights.map((each) => {
    weight += each;
    const share = Math.round((total * weight) / all) - given;
    given += share;
    return share;
  });
}

import { z } from "zod";
import type { CallKind } from "./calls.ts";
import { type ChatTokens, chatCost, embeddingCost, type Prices, priceOf } from "./prices.ts";

/** A server's books are not ours to trust: what is no count is none. */
const count = z.int().nonnegative().catch(0);
const details = z.object({ cached_tokens: count }).catch({ cached_tokens: 0 });

/** Embeddings are billed in the same words, without anything that comes out. */
const Completion = z.object({
  usage: z.object({ prompt_tokens: count, completion_tokens: count, prompt_tokens_details: details }),
});

/** The same, as the Responses API says it. */
const Responded = z.object({
  usage: z.object({
    input_tokens: z.number().pipe(count),
    output_tokens: count,
    input_tokens_details: details,
  }),
});

/** What an answer's parsed body says it was billed: no tokens where the server does not say. */
export function billedTokens(body: unknown): ChatTokens {
  const responded = Responded.safeParse(body);
  if (responded.success) {
    const { input_tokens, output_tokens, input_tokens_details } = responded.data.usage;
    return tokens(input_tokens, input_tokens_details.cached_tokens, output_tokens);
  }
  const completion = Completion.safeParse(body);
  if (!completion.success) return { in: 0, cached: 0, out: 0 };
  const { prompt_tokens, completion_tokens, prompt_tokens_details } = completion.data.usage;
  return tokens(prompt_tokens, prompt_tokens_details.cached_tokens, completion_tokens);
}

/** Cached tokens are some of those that went in. */
function tokens(all: number, cached: number, out: number): ChatTokens {
  return { in: all, cached: Math.min(cached, all), out };
}

/** US dollars; nothing where the price is not known. */
export function costOf(prices: Prices, kind: CallKind, model: string, tokens: ChatTokens): number {
  const price = priceOf(prices, model);
  return kind === "chat" ? chatCost(price, tokens) : embeddingCost(price, tokens.in);
}

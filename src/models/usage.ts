import { noUsage, type Usage } from "../pipeline.ts";
import { type ChatTokens, chatCost, embeddingCost, type Prices, priceOf } from "./prices.ts";

/** Counts what one attempt uses: every answer a model server gave, whether or not it could be read. */
export type UsageRecorder = {
  chatted(model: string, tokens: ChatTokens): void;
  embedded(model: string, tokens: number): void;
  reused(vectors: number): void;
  total(): Usage;
};

/** A model without a price costs nothing here; `openModels` names those. */
export function usageRecorder(prices: Prices): UsageRecorder {
  let total = noUsage;
  const add = (more: Partial<Usage>) => {
    total = sum(total, more);
  };
  return {
    chatted: (model, tokens) =>
      add({
        model_calls: 1,
        tokens_in: tokens.in,
        tokens_cached: tokens.cached,
        tokens_out: tokens.out,
        cost_usd: chatCost(priceOf(prices, model), tokens),
      }),
    embedded: (model, tokens) =>
      add({
        embedding_calls: 1,
        embedding_tokens: tokens,
        cost_usd: embeddingCost(priceOf(prices, model), tokens),
      }),
    reused: (vectors) => add({ vectors_reused: vectors }),
    total: () => total,
  };
}

function sum(total: Usage, more: Partial<Usage>): Usage {
  const added = Object.entries(more).map(([name, value]) => [name, total[name as keyof Usage] + value]);
  return { ...total, ...Object.fromEntries(added) };
}

import { noUsage, type Usage } from "../pipeline.ts";
import type { ModelCall } from "./calls.ts";

/** Counts what one attempt uses: every answer a model server gave, whether or not it could be read. */
export type UsageRecorder = {
  /** What came from a cache or a tape was not used. */
  called(call: ModelCall): void;
  /** One embedding of any number of texts in this process. */
  embeddedHere(): void;
  reused(vectors: number): void;
  total(): Usage;
};

/** A model without a price costs nothing here; `openModels` names those. */
export function usageRecorder(): UsageRecorder {
  let total = noUsage;
  const add = (more: Partial<Usage>) => {
    total = sum(total, more);
  };
  return {
    called: (call) => add(usageOf(call)),
    embeddedHere: () => add({ embedding_calls: 1 }),
    reused: (vectors) => add({ vectors_reused: vectors }),
    total: () => total,
  };
}

function usageOf({ kind, from, tokens_in, tokens_cached, tokens_out, cost_usd }: ModelCall): Partial<Usage> {
  if (from !== "provider") return {};
  return kind === "chat"
    ? { model_calls: 1, tokens_in, tokens_cached, tokens_out, cost_usd }
    : { embedding_calls: 1, embedding_tokens: tokens_in, cost_usd };
}

function sum(total: Usage, more: Partial<Usage>): Usage {
  const added = Object.entries(more).map(([name, value]) => [name, total[name as keyof Usage] + value]);
  return { ...total, ...Object.fromEntries(added) };
}

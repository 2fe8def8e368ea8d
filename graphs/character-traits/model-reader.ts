import type { BaseChatModel } from "@langchain/core/language_models/chat_models";
import { asker } from "../../src/ask.ts";
import type { NumberedPassage } from "./passages.ts";
import { askTraits } from "./prompt.ts";
import { Answer, type LocatedClaim } from "./schema.ts";

/** Asks a model about one batch of passages. Throws MODEL_ANSWER_INVALID where its answer has not the asked shape. */
export type AskModel = (
  names: readonly string[],
  passages: readonly NumberedPassage[],
  signal: AbortSignal | undefined,
) => Promise<LocatedClaim[]>;

export function modelAsker(model: BaseChatModel): AskModel {
  const ask = asker(model, Answer, { name: "traits" });
  return async (names, passages, signal) => {
    const { traits } = await ask(askTraits(names, passages), signal);
    return traits.map((claim) => ({ ...claim, from: 0 }));
  };
}

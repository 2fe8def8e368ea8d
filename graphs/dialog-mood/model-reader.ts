import type { BaseChatModel } from "@langchain/core/language_models/chat_models";
import { type Ask, asker } from "../../src/ask.ts";
import { checked } from "./evidence.ts";
import { askExchange, askWhole } from "./prompt.ts";
import type { Reader } from "./reader.ts";
import { Answer, type ExchangeMood, type Reading } from "./schema.ts";
import { wholeOf } from "./whole.ts";

/** Reads with a chat model, one call an exchange. Throws MODEL_ANSWER_INVALID where an answer has not the asked shape. */
export function modelReader(model: BaseChatModel): Reader {
  const ask = asker(model, Answer, { name: "mood" });
  return {
    atOnce: 1,
    declines: () => undefined,
    exchange: async (turns, signal) => checked(await ask(askExchange(turns), signal), turns),
    whole: (exchanges, signal) => readWhole(ask, exchanges, signal),
  };
}

/** One exchange needs no second question, and one whose evidence was invented has no say. */
async function readWhole(
  ask: Ask<Answer>,
  exchanges: readonly ExchangeMood[],
  signal: AbortSignal | undefined,
): Promise<Reading> {
  const trusted = exchanges.filter(({ confidence }) => confidence > 0);
  if (trusted.length < 2) return wholeOf(exchanges);
  return checked(await ask(askWhole(trusted), signal), trusted.flatMap(quoted));
}

/** The evidence of an exchange, as the only words that the whole may quote. */
function quoted({ evidence, evidence_at }: ExchangeMood) {
  return evidence_at ? [{ said: evidence, start: evidence_at.start }] : [];
}

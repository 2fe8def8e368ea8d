import type { BaseChatModel } from "@langchain/core/language_models/chat_models";
import type { BaseMessageLike } from "@langchain/core/messages";
import { z } from "zod";
import { LoregraphError } from "../../src/errors.ts";
import { checked } from "./evidence.ts";
import { askExchange, askWhole } from "./prompt.ts";
import type { Reader } from "./reader.ts";
import { Answer, type ExchangeMood, type Reading } from "./schema.ts";
import { atMost } from "./slots.ts";
import { wholeOf } from "./whole.ts";

/** Calls of one graph that are under way together: quick for a scene, polite to a rate limit. */
const mostCalls = 4;

type Ask = (question: BaseMessageLike[], signal: AbortSignal | undefined) => Promise<Answer>;

/** Reads with a chat model, one call an exchange. Throws MODEL_ANSWER_INVALID where an answer has not the asked shape. */
export function modelReader(model: BaseChatModel): Reader {
  const ask = asker(model);
  return {
    atOnce: 1,
    declines: () => undefined,
    exchange: async (turns, signal) => checked(await ask(askExchange(turns), signal), turns),
    whole: (exchanges, signal) => readWhole(ask, exchanges, signal),
  };
}

/** One exchange needs no second question, and one whose evidence was invented has no say. */
async function readWhole(
  ask: Ask,
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

function asker(model: BaseChatModel): Ask {
  const reader = model.withStructuredOutput(Answer, { name: "mood" });
  const slots = atMost(mostCalls);
  return (question, signal) =>
    slots(async () => {
      signal?.throwIfAborted();
      return parse(await reader.invoke(question, signal ? { signal } : {}).catch(refuseMisshapen));
    });
}

function parse(answer: unknown): Answer {
  const parsed = Answer.safeParse(answer);
  if (parsed.success) return parsed.data;
  throw misshapen(z.prettifyError(parsed.error), parsed.error);
}

/** A model's own client parses too, and says so in three ways; whatever else it throws is not about the shape. */
function refuseMisshapen(error: unknown): never {
  if (error instanceof z.core.$ZodError) throw misshapen(z.prettifyError(error), error);
  if (error instanceof SyntaxError || isParsingFailure(error)) throw misshapen(error.message, error);
  throw error;
}

function isParsingFailure(error: unknown): error is Error {
  return (
    error instanceof Error && "lc_error_code" in error && error.lc_error_code === "OUTPUT_PARSING_FAILURE"
  );
}

function misshapen(problem: string, cause: unknown): LoregraphError {
  return new LoregraphError("MODEL_ANSWER_INVALID", `expected a mood reading, got: ${problem}`, { cause });
}

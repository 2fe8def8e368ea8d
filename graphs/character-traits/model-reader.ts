import type { BaseChatModel } from "@langchain/core/language_models/chat_models";
import { z } from "zod";
import { LoregraphError } from "../../src/errors.ts";
import type { NumberedPassage } from "./passages.ts";
import { askTraits } from "./prompt.ts";
import { Claim, type LocatedClaim } from "./schema.ts";
import { atMost } from "./slots.ts";

/** Questions of one graph that are under way together: quick for a long book, polite to a rate limit. */
const mostCalls = 4;

const Answer = z.object({ traits: z.array(Claim) });

/** Asks a model about one batch of passages. Throws MODEL_ANSWER_INVALID where its answer has not the asked shape. */
export type AskModel = (
  names: readonly string[],
  passages: readonly NumberedPassage[],
  signal: AbortSignal | undefined,
) => Promise<LocatedClaim[]>;

export function modelAsker(model: BaseChatModel): AskModel {
  const reader = model.withStructuredOutput(Answer, { name: "traits" });
  const slots = atMost(mostCalls);
  return (names, passages, signal) =>
    slots(async () => {
      signal?.throwIfAborted();
      const question = askTraits(names, passages);
      return parse(await reader.invoke(question, signal ? { signal } : {}).catch(refuseMisshapen));
    });
}

function parse(answer: unknown): LocatedClaim[] {
  const parsed = Answer.safeParse(answer);
  if (parsed.success) return parsed.data.traits.map((claim) => ({ ...claim, from: 0 }));
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
  return new LoregraphError("MODEL_ANSWER_INVALID", `expected a list of traits, got: ${problem}`, { cause });
}

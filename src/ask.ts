import { setImmediate as nextTurn } from "node:timers/promises";
import type { BaseChatModel } from "@langchain/core/language_models/chat_models";
import type { BaseMessageLike } from "@langchain/core/messages";
import pLimit from "p-limit";
import { z } from "zod";
import { LoregraphError } from "./errors.ts";
import { assertStrict } from "./strict.ts";

export type AskOptions = {
  /** What the answer is, in a word or two: models are told it, and errors name it. */
  readonly name: string;
  /** Questions that are under way together. Defaults to 4: quick for a scene, polite to a rate limit. */
  readonly atOnce?: number;
};

export type Ask<Answer> = (question: BaseMessageLike[], signal: AbortSignal | undefined) => Promise<Answer>;

/**
 * A way to ask a chat model for answers of one shape, a few at a time: LangGraph starts every `Send` of a step at
 * once, and a graph cannot tell it otherwise. Throws PIPELINE_INVALID at once where the shape cannot be asked for in
 * OpenAI's strict mode, and MODEL_ANSWER_INVALID where an answer has another shape.
 *
 * When a question fails, LangGraph drops all that its step still waits for. So the failure is told only when those
 * under way have been answered, which are paid for: their answers are saved, and the next attempt need not ask again.
 */
export function asker<Schema extends z.ZodObject>(
  model: BaseChatModel,
  schema: Schema,
  { name, atOnce = 4 }: AskOptions,
): Ask<z.infer<Schema>> {
  assertStrict(schema, name);
  const reader = model.withStructuredOutput(schema, { name });
  const limit = pLimit(atOnce);
  const others = new UnderWay();
  return (question, signal) =>
    limit(async () => {
      signal?.throwIfAborted();
      others.throwIfFailing();
      return await others.join(askOnce(question, signal));
    });

  async function askOnce(
    question: BaseMessageLike[],
    signal: AbortSignal | undefined,
  ): Promise<z.infer<Schema>> {
    const answer: unknown = await reader
      .invoke(question, signal ? { signal } : {})
      .catch((error) => refuseMisshapen(name, error));
    const parsed = schema.safeParse(answer);
    if (parsed.success) return parsed.data;
    throw misshapen(name, parsed.error);
  }
}

/** The questions under way, and whether one of them has failed: then no new one begins. */
class UnderWay {
  readonly #questions = new Set<Promise<unknown>>();
  #open = 0;
  #failure: { readonly error: unknown } | undefined;

  throwIfFailing(): void {
    if (this.#failure) throw this.#failure.error;
  }

  /** The question's answer at once; its failure only after the others have been answered, and could be saved. */
  async join<Answer>(question: Promise<Answer>): Promise<Answer> {
    this.#questions.add(question);
    this.#open++;
    try {
      return await question;
    } catch (error) {
      this.#questions.delete(question);
      this.#failure ??= { error };
      await Promise.allSettled(this.#questions);
      await nextTurn();
      throw error;
    } finally {
      this.#questions.delete(question);
      this.#open--;
      // A compiled graph may be run again, as Studio does.
      if (this.#open === 0) this.#failure = undefined;
    }
  }
}

/** A model's own client parses too, and says so in three ways; whatever else it throws is not about the shape. */
function refuseMisshapen(name: string, error: unknown): never {
  if (error instanceof z.core.$ZodError || error instanceof SyntaxError || isParsingFailure(error)) {
    throw misshapen(name, error);
  }
  throw error;
}

function isParsingFailure(error: unknown): boolean {
  return (
    error instanceof Error && "lc_error_code" in error && error.lc_error_code === "OUTPUT_PARSING_FAILURE"
  );
}

/** Without the parser's own words: they quote the answer, which may quote the text. */
function misshapen(name: string, error: unknown): LoregraphError {
  const where =
    error instanceof z.core.$ZodError ? error.issues.map(({ path }) => path.join(".") || "all of it") : [];
  const what = where.length > 0 ? ` (wrong: ${[...new Set(where)].join(", ")})` : "";
  return new LoregraphError("MODEL_ANSWER_INVALID", `the model's ${name} has not the asked shape${what}`);
}

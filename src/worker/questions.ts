import { z } from "zod";
import { LoregraphError } from "../errors.ts";
import { misfit } from "../ledger/answer-schema.ts";
import type { NewQuestion } from "../ledger/questions.ts";
import type { Pipeline } from "../pipeline.ts";
import { storableJson, storableText } from "../store/storable.ts";

const Interrupt = z.object({
  id: z.string(),
  value: z.unknown().optional(),
  response_schema: z.unknown().optional(),
});
const Interrupted = z.object({ __interrupt__: z.array(Interrupt).min(1) });

/**
 * What a graph asked when it stopped, each question once, or undefined where it did not stop. `refused` tells why it did
 * not take what it was told. Throws PIPELINE_INVALID where a question would expire into an answer that does not fit it.
 */
export function questionsIn(
  values: unknown,
  pipeline: Pipeline,
  refused: ReadonlyMap<string, string>,
): readonly NewQuestion[] | undefined {
  const interrupts = Interrupted.safeParse(values).data?.__interrupt__;
  if (interrupts === undefined) return undefined;
  const distinct = new Map(interrupts.map((interrupt) => [interrupt.id, interrupt]));
  return [...distinct.values()].map(({ id, value, response_schema }) => {
    const { question } = storableJson({ question: value ?? null });
    const why = refused.get(id);
    return {
      id,
      question,
      answer_schema: response_schema,
      expiry: expiryOf(pipeline, question, response_schema),
      refused_because: why === undefined ? undefined : storableText(why),
    };
  });
}

function expiryOf({ name, questions }: Pipeline, question: unknown, schema: unknown): NewQuestion["expiry"] {
  if (questions === undefined) return undefined;
  const { answer } = storableJson({ answer: questions.default(question) ?? null });
  const why = misfit(schema, answer);
  if (why === undefined) return { hours: questions.expireHours, answer };
  const message = `${name}: questions.default gives an answer that does not fit its question:\n${why}`;
  throw new LoregraphError("PIPELINE_INVALID", message);
}

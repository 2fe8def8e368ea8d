import { z } from "zod";
import { LoregraphError } from "../errors.ts";
import type { Pipeline } from "../pipeline.ts";

/**
 * A graph's answer, as its pipeline promised it. Throws ANSWER_INVALID where it has another shape, and EVENT_UNKNOWN
 * where it names an event that the pipeline does not announce.
 */
export function checkedAnswer(pipeline: Pipeline, values: unknown): Record<string, unknown> {
  const parsed = pipeline.output.safeParse(values);
  if (!parsed.success) throw answerInvalid(pipeline, "its answer is not what it promised", parsed.error);
  assertKnownEvents(pipeline, parsed.data);
  return { ...parsed.data };
}

const Events = z.array(z.object({ event: z.string() })).default([]);

function assertKnownEvents({ name, emits }: Pipeline, answer: Record<string, unknown>): void {
  const unknown = Events.parse(answer.events).find(({ event }) => !emits.includes(event));
  if (unknown === undefined) return;
  const announced = emits.join(", ") || "none";
  throw new LoregraphError(
    "EVENT_UNKNOWN",
    `${name}: expected an event that it announces (${announced}), got: ${unknown.event}`,
  );
}

export function answerInvalid({ name }: Pipeline, what: string, cause: z.core.$ZodError): LoregraphError {
  return new LoregraphError("ANSWER_INVALID", `${name}: ${what}:\n${z.prettifyError(cause)}`, { cause });
}

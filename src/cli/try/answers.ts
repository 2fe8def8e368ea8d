import { z } from "zod";
import { LoregraphError } from "../../errors.ts";
import type { Entity, Outcome, Pipeline } from "../../pipeline.ts";
import type { Tried } from "../../try/run.ts";
import { enrichedEvent, graphEvents, ingestedEvent, mentionsIn } from "../../worker/events.ts";

/** Adds one answer to those before it. Throws INPUT_INVALID for what is no JSON. */
export function readAnswers(written: string, before: readonly unknown[]): readonly unknown[] {
  try {
    // LangGraph takes no null for an answer.
    return [
      ...before,
      z
        .unknown()
        .refine((answer) => answer !== null)
        .parse(JSON.parse(written)),
    ];
  } catch (cause) {
    const message = `expected --answer to be JSON and not null, such as '"yes"', got: ${written}`;
    throw new LoregraphError("INPUT_INVALID", message, { cause });
  }
}

/** How a trial ended, as a worker would have taken it. */
export type Told =
  | { readonly ending: "waiting"; readonly question: unknown }
  | {
      readonly ending: "answered";
      readonly outcome: Outcome;
      readonly answer: Readonly<Record<string, unknown>>;
      /** What would be told to others. */
      readonly events: readonly {
        readonly event: string;
        readonly metadata: Readonly<Record<string, unknown>>;
      }[];
    };

export function told(pipeline: Pipeline, entity: Entity, tried: Tried): Told {
  if (tried.kind === "waiting") return { ending: "waiting", question: tried.question };
  const { events, ...answer } = tried.answer;
  const outcome = pipeline.outcome(tried.answer);
  const first =
    pipeline.kind === "ingestion"
      ? ingestedEvent(entity, mentionsIn(answer))
      : enrichedEvent(entity, pipeline.name, outcome);
  const all = [first, ...graphEvents(entity, events)];
  return {
    ending: "answered",
    outcome,
    answer,
    events: all.map(({ event, metadata }) => ({ event, metadata: { ...metadata } })),
  };
}

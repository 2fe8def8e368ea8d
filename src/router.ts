import { z } from "zod";
import { LoregraphError, messageOf } from "./errors.ts";
import type { RunRequest } from "./ledger/run.ts";
import { triedName, triedPriority } from "./ledger/tried.ts";
import {
  enricherOf,
  type LoreEvent,
  Mention,
  type Metadata,
  type Pipeline,
  type Trigger,
} from "./pipeline.ts";

/** What the router needs to know of an event. */
export type Routable = Pick<
  LoreEvent,
  "event" | "tenant_id" | "source_type" | "source_id" | "version" | "metadata"
>;

/** The feature flags that are on for the tenant of the event. */
export type Flags = Readonly<Record<string, boolean>>;

/** The same for a version that is only tried: its runs have a name of their own, and come after all others. */
export function routeTried(event: Routable, pipeline: Pipeline, flags: Flags = {}): readonly RunRequest[] {
  const of = { pipeline: triedName(pipeline), priority: triedPriority };
  return route(event, [pipeline], flags).map((request) => ({ ...request, ...of }));
}

/** From an event to the runs it causes. Pure: the same event, pipelines and flags give the same runs. */
export function route(
  event: Routable,
  pipelines: Iterable<Pipeline>,
  flags: Flags = {},
): readonly RunRequest[] {
  return [...pipelines].flatMap((pipeline) => {
    const { trigger } = pipeline;
    if (trigger.flag !== undefined && flags[trigger.flag] !== true) return [];
    return [
      ...(concerns(pipeline, event) ? [request(pipeline, event, event)] : []),
      ...mentionsFor(trigger, event).map((mention) => request(pipeline, event, { ...mention, version: 1 })),
    ];
  });
}

function concerns(pipeline: Pipeline, happened: Routable): boolean {
  const { source_type, metadata } = happened;
  const { on, types } = pipeline.trigger;
  if (source_type === "tenant") return false;
  return (
    happens(on, happened) && (types === undefined || types.includes(source_type)) && wants(pipeline, metadata)
  );
}

/** What an enricher refused to store is nothing to go on from. */
function happens(on: string, { event, metadata }: Routable): boolean {
  const enricher = enricherOf(on);
  if (enricher === undefined || event !== "entity.enriched") return on === event;
  return metadata.pipeline === enricher && metadata.outcome !== "eval_rejected";
}

/** Asks the pipeline's own code. Throws PIPELINE_INVALID, so that it is not taken for a fault of the entity. */
export function wants({ name, trigger }: Pipeline, metadata: Metadata): boolean {
  try {
    return trigger.when === undefined || trigger.when(metadata);
  } catch (cause) {
    throw new LoregraphError("PIPELINE_INVALID", `${name}: trigger.when threw: ${messageOf(cause)}`, {
      cause,
    });
  }
}

const Mentions = z.array(Mention).catch([]);

/** Whom the event's text speaks of, or spoke of before it went, where the pipeline wants to know of them. */
function mentionsFor({ on, mentioned, types }: Trigger, { event, metadata }: Routable): readonly Mention[] {
  if (!mentioned || (event !== on && event !== "entity.deleted")) return [];
  return Mentions.parse(metadata.mentions).filter(
    ({ source_type }) => types === undefined || types.includes(source_type),
  );
}

type Subject = Pick<Routable, "source_type" | "source_id" | "version">;

/** `version` is the least that the run must read; it reads the newest there is. */
function request(
  { name, priority, retries }: Pipeline,
  { tenant_id }: Routable,
  subject: Subject,
): RunRequest {
  return {
    tenant_id,
    source_type: subject.source_type,
    source_id: subject.source_id,
    source_version: subject.version,
    pipeline: name,
    priority,
    max_attempts: retries.attempts,
  };
}

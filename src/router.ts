import type { RunRequest } from "./ledger/run.ts";
import type { LoreEvent, Pipeline, Trigger } from "./pipeline.ts";

/** What the router needs to know of an event. */
export type Routable = Pick<
  LoreEvent,
  "event" | "tenant_id" | "source_type" | "source_id" | "version" | "metadata"
>;

/** The feature flags that are on for the tenant of the event. */
export type Flags = Readonly<Record<string, boolean>>;

/** From an event to the runs it causes. Pure: the same event, pipelines and flags give the same runs. */
export function route(
  event: Routable,
  pipelines: Iterable<Pipeline>,
  flags: Flags = {},
): readonly RunRequest[] {
  return [...pipelines]
    .filter(({ trigger }) => triggers(trigger, event, flags))
    .map((pipeline) => request(pipeline, event));
}

function triggers(trigger: Trigger, event: Routable, flags: Flags): boolean {
  return (
    trigger.on === event.event &&
    (trigger.types === undefined || trigger.types.includes(event.source_type)) &&
    (trigger.flag === undefined || flags[trigger.flag] === true) &&
    (trigger.when === undefined || trigger.when(event.metadata))
  );
}

function request({ name, priority, retries }: Pipeline, event: Routable): RunRequest {
  return {
    tenant_id: event.tenant_id,
    source_type: event.source_type,
    source_id: event.source_id,
    source_version: event.version,
    pipeline: name,
    priority,
    max_attempts: retries.attempts,
  };
}

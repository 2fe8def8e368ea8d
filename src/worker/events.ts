import type { ClaimedRun } from "../ledger/run.ts";
import { Emitted, type Entity, Mention, type Outcome } from "../pipeline.ts";
import { withMentions } from "../publish.ts";
import type { Routable } from "../router.ts";

/** Tells that an entity was ingested, and whom its text speaks of, or spoke of before. */
export function ingestedEvent(entity: Entity, mentions: readonly Mention[]): Routable {
  return about(entity, {
    event: "entity.ingested",
    metadata: withMentions(entity.metadata, mentions),
  });
}

export function enrichedEvent(entity: Entity, pipeline: string, outcome: Outcome): Routable {
  return about(entity, { event: "entity.enriched", metadata: { pipeline, outcome } });
}

/** Tells that a run waits for a person. What it asks may quote its entity, and is read from the run. */
export function waitingEvent(
  entity: Entity,
  { id, pipeline }: Pick<ClaimedRun, "id" | "pipeline">,
): Routable {
  return about(entity, { event: "run.waiting", metadata: { pipeline, run_id: id } });
}

/** What an answer names under `events`, told about its entity. */
export function graphEvents(entity: Entity, events: unknown): readonly Routable[] {
  return Emitted.array()
    .default([])
    .parse(events)
    .map((event) => about(entity, event));
}

/** What an answer names under `mentions`. */
export function mentionsIn({ mentions }: Record<string, unknown>): readonly Mention[] {
  return Mention.array().catch([]).parse(mentions);
}

function about(
  { tenant_id, source_type, source_id, version }: Entity,
  { event, metadata }: Emitted,
): Routable {
  return { event, tenant_id, source_type, source_id, version, metadata };
}

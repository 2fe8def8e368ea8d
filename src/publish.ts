import type { Db } from "./db.ts";
import { enqueueRuns } from "./ledger/enqueue.ts";
import type { ClaimedRun, RunRequest } from "./ledger/run.ts";
import type { Mention, Metadata, Pipeline } from "./pipeline.ts";
import { triedIn, versionsIn } from "./registry.ts";
import { type Routable, route, routeTried } from "./router.ts";
import { oweDeliveries } from "./store/deliveries.ts";
import { appendEvents } from "./store/events.ts";
import { readFlags } from "./store/flags.ts";
import { isInShare, runningRollouts } from "./store/rollouts.ts";

/** The run whose answer the events tell of. */
export type Cause = Pick<ClaimedRun, "id" | "reingest_id" | "priority" | "force">;

export type Published = { readonly events: number; readonly runs: number };

/** An event that is about to be told, and the run whose answer tells it. */
export type Told = { readonly event: Routable; readonly cause?: Cause | undefined };

/**
 * Appends events, makes the runs that the router derives from them and owes them to subscribers, in the caller's
 * transaction: there is no moment at which an event stands and its runs do not. What follows from a run of a reingest
 * is a part of it too; deliveries are not, so that holding it back holds back no subscriber.
 */
export async function publish(
  db: Db,
  pipelines: ReadonlyMap<string, Pipeline>,
  events: readonly Routable[],
  cause?: Cause,
): Promise<Published> {
  const told = events.map((event) => ({ event, cause }));
  return await publishAll(db, pipelines, told);
}

/** The same for events of several causes. */
export async function publishAll(
  db: Db,
  pipelines: ReadonlyMap<string, Pipeline>,
  told: readonly Told[],
): Promise<Published> {
  if (told.length === 0) return { events: 0, runs: 0 };
  const tenant_ids = [...new Set(told.map(({ event }) => event.tenant_id))];
  const flags = await flagsWhereAsked(db, pipelines, tenant_ids);
  const event_ids = await appendEvents(
    db,
    told.map(({ event, cause }) => ({ ...event, run_id: cause?.id })),
  );
  const requests = told.flatMap(({ event, cause }, index) =>
    route(event, pipelines.values(), flags.get(event.tenant_id)).map((request) => ({
      ...request,
      ...(event_ids[index] === undefined ? {} : { cause_event: event_ids[index] }),
      ...(cause === undefined ? {} : inherited(cause)),
    })),
  );
  const tried = await triedRuns(db, pipelines, told, flags);
  const deliveries = await oweDeliveries(db, { tenant_ids, event_ids });
  const runs = await enqueueRuns(db, [...requests, ...tried]);
  await enqueueRuns(db, deliveries);
  return { events: told.length, runs: runs.length };
}

function inherited({ id, reingest_id, priority, force }: Cause): Partial<RunRequest> {
  return { parent_run_id: id, ...(reingest_id === null ? {} : { reingest_id, priority, force }) };
}

/** Rollouts are read only where a version beside one that runs is loaded. What is tried is no part of a reingest. */
async function triedRuns(
  db: Db,
  pipelines: ReadonlyMap<string, Pipeline>,
  told: readonly Told[],
  flags: ReadonlyMap<string, Readonly<Record<string, boolean>>>,
): Promise<readonly RunRequest[]> {
  const tried = triedIn(pipelines);
  const rollouts = tried.length > 0 ? await runningRollouts(db) : [];
  return rollouts.flatMap((rollout) => {
    const pipeline = tried.find(
      ({ name, version }) => name === rollout.pipeline && version === rollout.to_version,
    );
    if (pipeline === undefined) return [];
    const concerned = told.filter(
      ({ event }) => rollout.tenant_id === null || event.tenant_id === rollout.tenant_id,
    );
    return concerned
      .flatMap(({ event }) => routeTried(event, pipeline, flags.get(event.tenant_id)))
      .filter(({ source_id }) => isInShare(rollout, source_id));
  });
}

/** Flags are read only where some pipeline asks for one. */
async function flagsWhereAsked(
  db: Db,
  pipelines: ReadonlyMap<string, Pipeline>,
  tenant_ids: readonly string[],
) {
  const asked = versionsIn(pipelines).some(({ trigger }) => trigger.flag !== undefined);
  return asked ? await readFlags(db, tenant_ids) : new Map();
}

/**
 * An event's metadata: what its entity carries, and whom its text speaks of, each once. Whom the entity itself claims to
 * mention is left out: runs follow from mentions, and only what has read the text knows them.
 */
export function withMentions(
  { mentions: _, ...metadata }: Metadata,
  mentions: readonly Mention[] = [],
): Metadata {
  const distinct = new Map(
    mentions.map((mention) => [`${mention.source_type} ${mention.source_id}`, mention]),
  );
  return distinct.size > 0 ? { ...metadata, mentions: [...distinct.values()] } : metadata;
}

import type { Db } from "./db.ts";
import { enqueueRuns } from "./ledger/enqueue.ts";
import type { Mention, Metadata, Pipeline } from "./pipeline.ts";
import { type Routable, route } from "./router.ts";
import { appendEvents } from "./store/events.ts";
import { readFlags } from "./store/flags.ts";

export type Published = { readonly events: number; readonly runs: number };

/**
 * Appends events and makes the runs that the router derives from them, in the caller's transaction: there is no
 * moment at which an event stands and its runs do not.
 */
export async function publish(
  db: Db,
  pipelines: ReadonlyMap<string, Pipeline>,
  events: readonly Routable[],
  run_id?: string,
): Promise<Published> {
  if (events.length === 0) return { events: 0, runs: 0 };
  const flags = await flagsWhereAsked(db, pipelines, events);
  const ids = await appendEvents(db, events, run_id);
  const requests = events.flatMap((event, index) =>
    route(event, pipelines.values(), flags.get(event.tenant_id)).map((request) => ({
      ...request,
      ...(ids[index] === undefined ? {} : { cause_event: ids[index] }),
      ...(run_id === undefined ? {} : { parent_run_id: run_id }),
    })),
  );
  const runs = await enqueueRuns(db, requests);
  return { events: events.length, runs: runs.length };
}

/** Flags are read only where some pipeline asks for one. */
async function flagsWhereAsked(
  db: Db,
  pipelines: ReadonlyMap<string, Pipeline>,
  events: readonly Routable[],
) {
  const asked = [...pipelines.values()].some(({ trigger }) => trigger.flag !== undefined);
  return asked ? await readFlags(db, [...new Set(events.map(({ tenant_id }) => tenant_id))]) : new Map();
}

/** An event's metadata with whom its text speaks of, each once; most events carry just what their entity does. */
export function withMentions(metadata: Metadata, mentions: readonly Mention[]): Metadata {
  const distinct = new Map(
    mentions.map((mention) => [`${mention.source_type} ${mention.source_id}`, mention]),
  );
  return distinct.size > 0 ? { ...metadata, mentions: [...distinct.values()] } : metadata;
}

import { z } from "zod";
import { type Db, many } from "../db.ts";
import { LoreEvent, type Metadata, type SubjectType } from "../pipeline.ts";

/** An event that is about to be appended; the database gives it its id and its time. */
export type NewEvent = {
  readonly event: string;
  readonly tenant_id: string;
  readonly source_type: SubjectType;
  readonly source_id: string;
  readonly version: number;
  readonly metadata: Metadata;
};

const Appended = z.object({ id: z.coerce.number() });

/** Appends events in order. Returns their ids, in the same order. `run_id` names the run that caused them. */
export async function appendEvents(
  db: Db,
  events: readonly NewEvent[],
  run_id?: string,
): Promise<readonly number[]> {
  const rows = await many(
    db,
    Appended,
    `insert into events (tenant_id, event, source_type, source_id, version, metadata, run_id)
     select (new ->> 'tenant_id')::uuid, new ->> 'event', new ->> 'source_type', (new ->> 'source_id')::uuid,
       (new ->> 'version')::integer, new -> 'metadata', $2
     from jsonb_array_elements($1) with ordinality as given (new, nth)
     order by nth
     returning id`,
    [JSON.stringify(events), run_id ?? null],
  );
  return rows.map(({ id }) => id);
}

const StoredEvent = LoreEvent.omit({ occurred_at: true }).extend({
  id: z.coerce.number(),
  occurred_at: z.date().transform((at) => at.toISOString()),
  run_id: z.guid().nullable(),
});
export type StoredEvent = z.infer<typeof StoredEvent>;

/** The events of one entity, oldest first. */
export async function eventsOf(
  db: Db,
  key: { tenant_id: string; source_type: SubjectType; source_id: string },
): Promise<readonly StoredEvent[]> {
  return await many(
    db,
    StoredEvent,
    `select * from events where tenant_id = $1 and source_type = $2 and source_id = $3 order by id`,
    [key.tenant_id, key.source_type, key.source_id],
  );
}

import { z } from "zod";
import { type Db, execute, many, maybeOne, type Pool, prepared, transaction } from "../db.ts";
import { LoreEvent, type Metadata, SubjectType } from "../pipeline.ts";

/** An event that is about to be appended; the database gives it its id and its time. */
export type NewEvent = {
  readonly event: string;
  readonly tenant_id: string;
  readonly source_type: SubjectType;
  readonly source_id: string;
  readonly version: number;
  readonly metadata: Metadata;
  /** The run that caused it. Defaults to none. */
  readonly run_id?: string | undefined;
};

const Appended = z.object({ id: z.coerce.number() });

/** Appends events in order. Returns their ids, in the same order. */
export async function appendEvents(db: Db, events: readonly NewEvent[]): Promise<readonly number[]> {
  const rows = await many(db, Appended, appendSql, [JSON.stringify(events)]);
  return rows.map(({ id }) => id);
}

const appendSql = prepared(`
  insert into events (tenant_id, event, source_type, source_id, version, metadata, run_id)
  select (new ->> 'tenant_id')::uuid, new ->> 'event', new ->> 'source_type', (new ->> 'source_id')::uuid,
    (new ->> 'version')::integer, new -> 'metadata', (new ->> 'run_id')::uuid
  from jsonb_array_elements($1) with ordinality as given (new, nth)
  order by nth
  returning id`);

export const StoredEvent = LoreEvent.omit({ occurred_at: true }).extend({
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

/**
 * Where a reader of a tenant's events stands. Ids are given before their transaction commits, so a reader who went by
 * ids alone would pass over what commits late: events are read transaction by transaction.
 */
export type Position = { readonly transaction_id: number; readonly id: number };

export function isAfter(one: Position, other: Position): boolean {
  if (one.transaction_id !== other.transaction_id) return one.transaction_id > other.transaction_id;
  return one.id > other.id;
}

const Place = z.object({ transaction_id: z.coerce.number(), id: z.coerce.number() });

const PlacedEvent = StoredEvent.extend(Place.shape);
export type PlacedEvent = z.infer<typeof PlacedEvent>;

const start: Position = { transaction_id: Number.MIN_SAFE_INTEGER, id: 0 };
const end: Position = { transaction_id: Number.MAX_SAFE_INTEGER, id: Number.MAX_SAFE_INTEGER };

// Events are not read as long as an older transaction may still append some that come before them.
const settled = "transaction_id < pg_snapshot_xmin(pg_current_snapshot())::text::bigint";

/** Where the newest event of a tenant that can be read stands; what comes after it is yet to be told. */
export async function newestPosition(db: Db, tenant_id: string): Promise<Position> {
  const newest = await maybeOne(
    db,
    Place,
    `select transaction_id, id from events
     where tenant_id = $1 and ${settled}
     order by transaction_id desc, id desc limit 1`,
    [tenant_id],
  );
  return newest ?? start;
}

/** Where an event stands. Of one that is gone: where the one with the next lower id stands, or the start. */
export async function positionOf(db: Db, tenant_id: string, id: number): Promise<Position> {
  const place = await maybeOne(
    db,
    Place,
    "select transaction_id, id from events where tenant_id = $1 and id <= $2 order by id desc limit 1",
    [tenant_id, id],
  );
  return place ?? start;
}

/** The next events of a tenant after a position, in order: none is passed over, none is read twice. */
export async function eventsPast(
  db: Db,
  tenant_id: string,
  position: Position,
  limit: number,
): Promise<readonly PlacedEvent[]> {
  return await many(
    db,
    PlacedEvent,
    `select * from events
     where tenant_id = $1 and (transaction_id, id) > ($2, $3) and ${settled}
     order by transaction_id, id
     limit $4`,
    [tenant_id, position.transaction_id, position.id, limit],
  );
}

export type EventFilter = {
  readonly event?: string | undefined;
  readonly source_type?: SubjectType | undefined;
  readonly source_id?: string | undefined;
};

export type EventPage = {
  readonly items: readonly StoredEvent[];
  /** The id that the page after this one comes after, or undefined at the end. */
  readonly next: number | undefined;
};

/**
 * The events of a tenant that match and come after the one with id `after`, or from the first on; `desc` is the newest
 * first. It looks at 20,000 at most: a page may hold less than `limit`, or nothing, though there is a next one.
 */
export async function eventsAfter(
  db: Db,
  tenant_id: string,
  after: number | undefined,
  filter: EventFilter,
  limit: number,
  order: "asc" | "desc" = "asc",
): Promise<EventPage> {
  const first = order === "asc" ? start : end;
  const { transaction_id, id } = after === undefined ? first : await positionOf(db, tenant_id, after);
  const from = [tenant_id, transaction_id, id] as const;
  const found = await many(db, StoredEvent, pageSql(filter, order), [
    ...from,
    filter.event ?? null,
    filter.source_type === undefined ? SubjectType.options : [filter.source_type],
    filter.source_id ?? null,
    limit + 1,
  ]);
  const items = found.slice(0, limit);
  const next = found.length > limit ? items.at(-1)?.id : await lastLookedAt(db, from, filter, order);
  return { items, next };
}

const mostLookedAt = 20_000;

// The events of one entity are few and found by its key: left to choose, Postgres would look for them among all.
function pageSql({ source_id }: EventFilter, order: "asc" | "desc"): string {
  const past = `(transaction_id, id) ${order === "asc" ? ">" : "<"} ($2, $3) and ${settled}`;
  const inOrder = `order by transaction_id ${order}, id ${order}`;
  const looked =
    source_id === undefined
      ? `tenant_id = $1 and ${past} ${inOrder} limit ${mostLookedAt}`
      : "tenant_id = $1 and source_type = any ($5) and source_id = $6 offset 0";
  return `
    select * from (select * from events where ${looked}) looked
    where ${past} and ($4::text is null or event = $4) and source_type = any ($5)
      and ($6::uuid is null or source_id = $6)
    ${inOrder}
    limit $7`;
}

/** The event at which a look for others ended before the last one. */
async function lastLookedAt(
  db: Db,
  from: readonly [tenant_id: string, transaction_id: number, id: number],
  { source_id }: EventFilter,
  order: "asc" | "desc",
): Promise<number | undefined> {
  if (source_id !== undefined) return undefined;
  const last = await maybeOne(
    db,
    Place,
    `select transaction_id, id from events
     where tenant_id = $1 and (transaction_id, id) ${order === "asc" ? ">" : "<"} ($2, $3) and ${settled}
     order by transaction_id ${order}, id ${order}
     offset ${mostLookedAt - 1} limit 1`,
    [...from],
  );
  return last?.id;
}

/**
 * Transaction ids count on from where they are in this cluster: in a copy that was restored into another one, events
 * may bear ids that are still to come, and would not be read. Then all of them move, in their order, below every id to
 * come. For the start of a process, before it reads or writes. Returns how many were moved.
 */
export async function forgetTransactionIds(pool: Pool): Promise<number> {
  return await transaction(pool, async (db) => {
    await execute(db, "select pg_advisory_xact_lock(hashtextextended('forget transaction ids', 0))");
    return await execute(db, forgetSql);
  });
}

// The newest event of each tenant stands at an end of the index: this looks at no others.
const forgetSql = `
  with recursive tenant (id) as (
    (select tenant_id from events order by tenant_id limit 1)
    union all
    select (select tenant_id from events where tenant_id > tenant.id order by tenant_id limit 1)
    from tenant where tenant.id is not null
  ),
  newest as (
    select max(newest.transaction_id) as transaction_id
    from tenant
    cross join lateral (
      select transaction_id from events where tenant_id = tenant.id order by transaction_id desc, id desc limit 1
    ) newest
  )
  update events set transaction_id = events.transaction_id - newest.transaction_id
  from newest
  where newest.transaction_id >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint`;

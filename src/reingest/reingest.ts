import { z } from "zod";
import { type Db, many, maybeOne } from "../db.ts";
import { LoregraphError } from "../errors.ts";
import { SourceType } from "../pipeline.ts";
import { Cursor } from "./decide.ts";
import { Filters } from "./request.ts";
import { ReingestStatus } from "./states.ts";

/** What keeps a producer from its next page for now. */
export const Trouble = z.object({
  code: z.string(),
  message: z.string(),
  tries: z.int().positive(),
  retry_at: z.iso.datetime(),
});
export type Trouble = z.infer<typeof Trouble>;

/** Where the producer stands, as `reingests.cursor` keeps it. */
export const Place = z.object({
  /** The last entity that was decided about. */
  after: Cursor.nullable().default(null),
  /** What the main service lists next. */
  listing: z.object({ source_type: SourceType, cursor: z.string().nullable() }).nullable().default(null),
  /** Pairs that will be run by the events of their base runs. */
  follows: z.int().nonnegative().default(0),
  /** Entities that the source told in a way that cannot be taken in. */
  rejected: z.int().nonnegative().default(0),
  trouble: Trouble.nullable().default(null),
});
export type Place = z.infer<typeof Place>;

export const startingPlace: Place = Place.parse({});

const count = z.coerce.number();

/** A reingest as its row tells. */
export const Reingest = z.object({
  tenant_id: z.guid(),
  id: z.guid(),
  status: ReingestStatus,
  idempotency_key: z.string().nullable(),
  request: Filters,
  source: z.string(),
  priority: z.int(),
  max_cost_usd: count.nullable(),
  max_tokens: count.nullable(),
  max_runs_per_minute: z.int().nullable(),
  /** The pairs of entity and pipeline that it is to decide about. */
  total: count,
  skipped: count,
  enqueued: count,
  cursor: Place.nullable(),
  produced_at: z.date().nullable(),
  paused_because: z.string().nullable(),
  error_code: z.string().nullable(),
  error_message: z.string().nullable(),
  event_id: count.nullable(),
  created_at: z.date(),
  started_at: z.date().nullable(),
  finished_at: z.date().nullable(),
});
export type Reingest = z.infer<typeof Reingest>;

/** What names a reingest. */
export type ReingestKey = Pick<Reingest, "tenant_id" | "id">;

export type ReingestView = ReturnType<typeof viewOf>;

/** A reingest as people see it: without what only its producer needs. */
export function viewOf({ request, cursor: _, event_id: __, ...reingest }: Reingest) {
  return { ...reingest, filters: request };
}

/** Throws NOT_FOUND. */
export async function readReingest(db: Db, { tenant_id, id }: ReingestKey): Promise<Reingest> {
  const row = await maybeOne(db, Reingest, "select * from reingests where tenant_id = $1 and id = $2", [
    tenant_id,
    id,
  ]);
  if (row === undefined) throw noReingest({ tenant_id, id });
  return row;
}

/** The same, held until the transaction ends. It keeps nobody from counting what became of its runs. */
export async function lockReingest(db: Db, { tenant_id, id }: ReingestKey): Promise<Reingest> {
  const row = await maybeOne(
    db,
    Reingest,
    "select * from reingests where tenant_id = $1 and id = $2 for no key update",
    [tenant_id, id],
  );
  if (row === undefined) throw noReingest({ tenant_id, id });
  return row;
}

function noReingest({ tenant_id, id }: ReingestKey): LoregraphError {
  return new LoregraphError("NOT_FOUND", `tenant ${tenant_id} has no reingest ${id}`);
}

/** The reingest of this id, whichever tenant's. There are few: they need no index of their ids alone. Throws NOT_FOUND. */
export async function findReingest(db: Db, id: string): Promise<Reingest> {
  const row = await maybeOne(db, Reingest, "select * from reingests where id = $1", [id]);
  if (row === undefined) throw new LoregraphError("NOT_FOUND", `there is no reingest ${id}`);
  return row;
}

export type ReingestList = {
  /** Absent: of all tenants. */
  readonly tenant_id?: string | undefined;
  readonly status?: ReingestStatus | undefined;
  /** Only older ones than this. */
  readonly before?: string | undefined;
  /** Defaults to 50. */
  readonly limit?: number | undefined;
};

/** Reingests, newest first, without the ids that they may name by the thousand. */
export async function listReingests(db: Db, list: ReingestList = {}): Promise<readonly Reingest[]> {
  return await many(
    db,
    Reingest,
    `select *, request - 'ids' as request from reingests
     where ($1::uuid is null or tenant_id = $1) and ($2::text is null or status = $2)
       and ($3::uuid is null or id < $3)
     order by id desc
     limit $4`,
    [list.tenant_id ?? null, list.status ?? null, list.before ?? null, list.limit ?? 50],
  );
}

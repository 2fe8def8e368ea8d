import { z } from "zod";
import { contendedTransaction, type Db, maybeOne, one, type Pool } from "../db.ts";
import { changedEvent } from "../intake.ts";
import { enqueuePage } from "../ledger/enqueue-page.ts";
import type { RunRequest } from "../ledger/run.ts";
import { publish } from "../publish.ts";
import type { Registry } from "../registry.ts";
import { route } from "../router.ts";
import type { EntitySource } from "../sources/entity-source.ts";
import { upsertEntities } from "../store/entities.ts";
import { readFlags } from "../store/flags.ts";
import { type Decided, decidePage } from "./decide.ts";
import { type ListedPage, listPage } from "./listing.ts";
import { type Place, Reingest, type ReingestKey, startingPlace } from "./reingest.ts";
import type { Scope } from "./scope.ts";

/** A reingest as its producer holds it: where it stands, as text, tells whether somebody else went on from there. */
export const Unproduced = Reingest.extend({
  place: z.string().nullable(),
  /** With all its microseconds: an entity may be made within the same millisecond. */
  created_until: z.string(),
});
export type Unproduced = z.infer<typeof Unproduced>;

export type ProduceContext = { readonly pool: Pool; readonly registry: Registry };

/** How a page ended: `made`, and the last one or not; or `stopped`, since the reingest or its place is another's now. */
export type PageEnd =
  | { readonly kind: "made"; readonly reingest: Unproduced; readonly last: boolean; readonly seen: number }
  | { readonly kind: "stopped" };

/**
 * Makes the runs of the next page of entities, and writes where the next one begins, in one transaction. Nothing is
 * locked before its end: pausing waits for no page, and a page that comes too late is undone.
 */
export async function producePage(
  { pool, registry }: ProduceContext,
  reingest: Unproduced,
  scope: Scope,
  source?: { readonly from: EntitySource; readonly signal: AbortSignal },
): Promise<PageEnd> {
  // Asked before the transaction begins: none of them waits for another service.
  const listed = source && (await listPage(source, scope, placeOf(reingest), reingest.request.batch_size));
  try {
    return await contendedTransaction(pool, async (db) => {
      await db.query(pageSettings);
      const page = listed
        ? await decideListed(db, registry, reingest, scope, listed)
        : await decideNext(db, reingest, scope);
      return await enqueue(db, reingest, page);
    });
  } catch (error) {
    if (error instanceof Overtaken) return { kind: "stopped" };
    throw error;
  }
}

// A crash of Postgres loses a page together with its place, or neither: there is nothing to wait for. And a page reads
// its outputs by their keys: where a table is small enough to lie in memory, Postgres would read all of it instead.
const pageSettings = "set local synchronous_commit = off; set local random_page_cost = 1.1";

/** Somebody paused or ended the reingest, or went on with it, since it was read. */
class Overtaken extends Error {}

function placeOf({ cursor }: Pick<Unproduced, "cursor">): Place {
  return cursor ?? startingPlace;
}

type Page = {
  readonly decided: Pick<Decided, "seen" | "skipped" | "runs" | "pairs">;
  /** Runs beside what was decided: of entities that the source told anew. */
  readonly caused: readonly RunRequest[];
  readonly place: Pick<Place, "after" | "listing" | "rejected">;
  readonly last: boolean;
};

async function decideNext(db: Db, reingest: Unproduced, scope: Scope): Promise<Page> {
  const place = placeOf(reingest);
  const decided = await decidePage(db, scope, place.after, reingest.request.batch_size);
  const after = decided.next ?? place.after;
  return { decided, caused: [], place: { ...place, after }, last: decided.next === null };
}

/** What the source tells anew is a change like any other; only the runs that it causes are the reingest's. */
async function decideListed(
  db: Db,
  registry: Registry,
  reingest: Unproduced,
  scope: Scope,
  { source, entities, keys, next, rejected }: ListedPage,
): Promise<Page> {
  const { tenant_id, request } = reingest;
  const upserted = await upsertEntities(db, tenant_id, source, entities);
  const events = upserted
    .filter(({ change }) => change === "created" || change === "changed")
    .map((entity) => changedEvent(tenant_id, entity));
  await publish(db, new Map(), events); // told to subscribers; which runs follow is said below
  const flags = events.length > 0 ? (await readFlags(db, [tenant_id])).get(tenant_id) : {};
  const caused = events.flatMap((event) => route(event, registry.values(), flags));
  const types = [...new Set(keys.map(({ source_type }) => source_type))];
  const ids = keys.map(({ source_id }) => source_id).sort();
  const decided =
    keys.length > 0 ? await decidePage(db, { ...scope, types, ids }, null, keys.length) : nothingDecided;
  const place = { after: null, listing: next, rejected: placeOf(reingest).rejected + rejected };
  const own = { priority: request.priority, force: request.force, parent_run_id: reingest.id };
  return { decided, caused: caused.map((run) => ({ ...run, ...own })), place, last: next === null };
}

const nothingDecided = { seen: 0, skipped: 0, runs: [], pairs: [] };

async function enqueue(db: Db, reingest: Unproduced, page: Page): Promise<PageEnd> {
  const { decided, caused, place, last } = page;
  // First what is caused: what was decided as well is then the reingest's own.
  await enqueuePage(db, reingest, caused);
  const own = await enqueuePage(db, reingest, decided.runs);
  const run = decided.pairs.reduce((sum, pair) => sum + pair.run, 0);
  const before = placeOf(reingest);
  const follows = before.follows + run - decided.runs.length;
  const advanced = await maybeOne(db, Unproduced, advanceSql, [
    reingest.tenant_id,
    reingest.id,
    reingest.place,
    JSON.stringify({ ...place, follows, trouble: null } satisfies Place),
    decided.skipped + decided.runs.length - own,
    own,
    last,
  ]);
  if (advanced === undefined) throw new Overtaken();
  return { kind: "made", reingest: advanced, last, seen: decided.seen };
}

const columns = "*, cursor::text as place, created_at::text as created_until";

const advanceSql = `
  update reingests set
    cursor      = $4,
    skipped     = skipped + $5,
    enqueued    = enqueued + $6,
    produced_at = case when $7 then now() end
  where tenant_id = $1 and id = $2 and status = 'running' and cursor::text is not distinct from $3
  returning ${columns}`;

/** The reingest with the place that its next page begins at; planned ones are begun. Undefined where there is none to make. */
export async function beginProducing(
  db: Db,
  { tenant_id, id }: ReingestKey,
): Promise<Unproduced | undefined> {
  return await maybeOne(
    db,
    Unproduced,
    `update reingests set status = 'running', started_at = coalesce(started_at, now())
     where tenant_id = $1 and id = $2 and status in ('planned', 'running') and produced_at is null
     returning ${columns}`,
    [tenant_id, id],
  );
}

/** Are `bound` of its runs pending? Counts no further than that. */
export async function isFull(db: Db, { tenant_id, id }: ReingestKey, bound: number): Promise<boolean> {
  if (bound === Number.POSITIVE_INFINITY) return false;
  const { pending } = await one(
    db,
    z.object({ pending: z.coerce.number() }),
    `select count(*) as pending from (
       select from pipeline_runs where tenant_id = $1 and reingest_id = $2 and status = 'pending' limit $3
     ) first`,
    [tenant_id, id, bound],
  );
  return pending >= bound;
}

import { contendedTransaction, type Db, type Pool } from "./db.ts";
import { LoregraphError } from "./errors.ts";
import { acceptEntitiesIn, removeEntitiesIn } from "./intake.ts";
import { sourceTypes } from "./pipeline.ts";
import type { Registry } from "./registry.ts";
import type { Draft } from "./sources/draft.ts";
import type { EntitySource, Rejection, SourceKey } from "./sources/entity-source.ts";
import type { Change } from "./store/entities.ts";
import { readSourceCursor, writeSourceCursor } from "./store/source-cursors.ts";
import { beginWalk, givenBy, noteSeen, readUnseen } from "./store/source-walk.ts";
import type { Log } from "./telemetry/log.ts";

/** What a sync is lent. */
export type SyncServices = {
  readonly pool: Pool;
  readonly registry: Registry;
  readonly source: EntitySource;
  readonly log: Log;
};

export type SyncOptions = {
  /** Look at all that the source has, and not only at what changed. Defaults to no, but for the first time. */
  readonly full?: boolean | undefined;
  /** May a source that has nothing any more have everything deleted? Defaults to no. */
  readonly allowEmpty?: boolean | undefined;
  /** Told how many entities were looked at so far, and in what. */
  readonly onProgress?: (done: number, note: string) => void;
  /** Ends the sync, with its reason. */
  readonly signal?: AbortSignal;
};

/** What a sync did. */
export type SyncReport = Readonly<Record<Change | "deleted" | "rejected", number>> & {
  /** Was all looked at that the source has? */
  readonly full: boolean;
  /** The first hundred of what was rejected; the log has them all. */
  readonly rejections: readonly Rejection[];
  /** Where the next sync goes on. */
  readonly cursor: string;
};

/** How much is asked for at a time, and how many characters of text are one transaction. */
const pageSize = 500;
const pageChars = 4_000_000;
const mostRejectionsTold = 100;

/**
 * Brings what is stored of a tenant to what its source has: the first time all of it, later what changed since. It
 * may be killed at any point, and the next sync goes on. Only what this source gave before is ever deleted.
 *
 * @returns undefined where another sync of this tenant is under way.
 */
export async function syncTenant(
  services: SyncServices,
  tenant_id: string,
  options: SyncOptions = {},
): Promise<SyncReport | undefined> {
  const { source, pool } = services;
  return await alone(pool, `sync ${tenant_id} ${source.name}`, async (lent) => {
    const sync = begin({ ...services, ...options, pool: lent, tenant_id });
    const known = options.full ? undefined : await readSourceCursor(lent, tenant_id, source.name);
    const cursor = await follow(sync, known ?? (await walk(sync)));
    return { ...sync.counts, full: sync.walked, rejections: sync.rejections, cursor };
  });
}

type Sync = SyncServices &
  SyncOptions & {
    readonly tenant_id: string;
    readonly counts: Record<Change | "deleted" | "rejected", number>;
    readonly rejections: Rejection[];
    looked: number;
    walked: boolean;
  };

function begin(given: SyncServices & SyncOptions & { readonly tenant_id: string }): Sync {
  const counts = { created: 0, changed: 0, moved: 0, unchanged: 0, deleted: 0, rejected: 0 };
  return { ...given, counts, rejections: [], looked: 0, walked: false };
}

/**
 * Does `work` while nobody else does what bears this name, or answers undefined. The lock is a connection's own, and
 * that connection is all of the pool that `work` is lent: where it breaks, the lock and the right to write go as one.
 */
async function alone<Result>(
  pool: Pool,
  name: string,
  work: (lent: Pool) => Promise<Result>,
): Promise<Result | undefined> {
  const client = await pool.connect();
  try {
    const { rows } = await client.query(
      "select pg_try_advisory_lock(hashtext(current_schema()), hashtext($1)) as mine",
      [name],
    );
    if (rows[0]?.mine !== true) return undefined;
    const query = client.query.bind(client);
    const connect = { value: async () => ({ query, release: () => {} }) };
    return await work(Object.create(pool, { query: { value: query }, connect }));
  } finally {
    await unlock(client);
    client.release(true); // and with it go the notes of a walk
  }
}

/** The connection's end would free the lock too, but only some time after this. */
async function unlock(client: Pick<Pool, "query">): Promise<void> {
  try {
    await client.query("select pg_advisory_unlock_all()");
  } catch {
    // What is broken holds no lock any more, and whoever noticed that first has said so.
  }
}

/**
 * Looks at all that the source has, then at what it should have and did not list. What changes meanwhile is told by
 * the changes after the cursor of the walk's beginning, which is stored once the walk is complete.
 */
async function walk(sync: Sync): Promise<string> {
  const { pool, source, tenant_id, signal } = sync;
  const start = await source.changesSince(tenant_id, undefined, 1, signal);
  if (start === undefined || start.more) throw unusable("asked for the newest cursor, it tells of changes");
  await beginWalk(pool);
  let seen = 0;
  for (const type of sourceTypes) seen += await walkType(sync, type);
  await lookForUnseen(sync, seen);
  await writeSourceCursor(pool, tenant_id, source.name, start.cursor);
  sync.walked = true;
  return start.cursor;
}

/** @returns how many entities of this type the source has. */
async function walkType(sync: Sync, type: (typeof sourceTypes)[number]): Promise<number> {
  const { pool, source, tenant_id, signal } = sync;
  let seen = 0;
  for (let cursor: string | null | undefined; cursor !== null; ) {
    const page = await source.listIds(tenant_id, type, cursor, pageSize, signal);
    const fresh = await noteSeen(pool, page.keys);
    if (page.keys.length > 0 && fresh === 0) throw unusable(`it lists the same ${type} ids without end`);
    reject(sync, page.rejected);
    await bring(sync, page.keys, `listed, at ${type}`);
    seen += fresh;
    cursor = page.next;
  }
  return seen;
}

/** Asks for what was given before and is not listed any more: what the source then says to be missing is deleted. */
async function lookForUnseen(sync: Sync, seen: number): Promise<void> {
  const { pool, source, tenant_id, allowEmpty = false } = sync;
  let page = await readUnseen(pool, tenant_id, source.name, undefined, pageSize);
  if (seen === 0 && page.length > 0 && !allowEmpty) throw suspicious(tenant_id);
  while (page.length > 0) {
    await bring(sync, page, "no longer listed");
    page = await readUnseen(pool, tenant_id, source.name, page.at(-1), pageSize);
  }
}

/** Takes in what changed after `from`, to the end. */
async function follow(sync: Sync, from: string): Promise<string> {
  const { source, tenant_id, signal } = sync;
  const passed = new Set([from]);
  let cursor = from;
  for (;;) {
    const page = await source.changesSince(tenant_id, cursor, pageSize, signal);
    if (page === undefined) {
      cursor = await walkInstead(sync);
      continue;
    }
    reject(sync, page.rejected);
    await bring(sync, page.keys, "changed", page.cursor);
    cursor = page.cursor;
    if (!page.more) return cursor;
    if (passed.has(cursor)) throw unusable("its changes lead back to where they were");
    passed.add(cursor);
  }
}

/** Looks at all where the source has forgotten what changed; once is enough to tell whether that helps. */
async function walkInstead(sync: Sync): Promise<string> {
  if (sync.walked) throw unusable("it forgets its changes before they can be asked for");
  sync.log.warn({ tenant: sync.tenant_id, source: sync.source.name }, "source-forgot-its-changes");
  return await walk(sync);
}

/** Brings what is stored of `keys` to what the source has now; with the last of it, the cursor is written. */
async function bring(sync: Sync, keys: readonly SourceKey[], note: string, cursor?: string): Promise<void> {
  const { source, tenant_id, signal, onProgress = () => {} } = sync;
  const { entities, missing, rejected } = await source.fetchEntities(tenant_id, keys, signal);
  signal?.throwIfAborted();
  reject(sync, rejected);
  const parts = [...partsOf(entities)];
  const last = parts.pop() ?? [];
  for (const part of parts) await commit(sync, { entities: part, missing: [] });
  await commit(sync, { entities: last, missing, cursor });
  sync.looked += keys.length;
  onProgress(sync.looked, note);
}

function* partsOf(drafts: readonly Draft[]): Generator<readonly Draft[]> {
  let part: Draft[] = [];
  let chars = 0;
  for (const draft of drafts) {
    if (part.length > 0 && chars + draft.text.length > pageChars) {
      yield part;
      part = [];
      chars = 0;
    }
    part.push(draft);
    chars += draft.text.length;
  }
  if (part.length > 0) yield part;
}

type Part = {
  readonly entities: readonly Draft[];
  readonly missing: readonly SourceKey[];
  readonly cursor?: string | undefined;
};

/** One transaction: entities in, entities out, and where the source's changes go on. */
async function commit(sync: Sync, { entities, missing, cursor }: Part): Promise<void> {
  const { pool, registry, tenant_id, source, counts } = sync;
  const { upserted, deleted } = await contendedTransaction(pool, async (db) => {
    const upserted = await acceptEntitiesIn(db, registry, { tenant_id, source: source.name, entities });
    const deleted = await removeMissing(sync, db, missing);
    if (cursor !== undefined) await writeSourceCursor(db, tenant_id, source.name, cursor);
    return { upserted, deleted };
  });
  for (const { change } of upserted) counts[change]++;
  counts.deleted += deleted;
}

async function removeMissing({ registry, tenant_id, source }: Sync, db: Db, missing: readonly SourceKey[]) {
  if (missing.length === 0) return 0;
  const own = await givenBy(db, tenant_id, source.name, missing);
  return (await removeEntitiesIn(db, registry, tenant_id, own)).length;
}

function reject({ counts, rejections, log, tenant_id }: Sync, rejected: readonly Rejection[]): void {
  counts.rejected += rejected.length;
  for (const rejection of rejected) {
    log.warn({ tenant: tenant_id, ...rejection }, "entity-rejected");
    if (rejections.length < mostRejectionsTold) rejections.push(rejection);
  }
}

function unusable(why: string): LoregraphError {
  return new LoregraphError("SOURCE_ANSWER_INVALID", `the source cannot be followed: ${why}`);
}

/** A wrong key or an empty replica looks just like a tenant that has deleted everything. */
function suspicious(tenant_id: string): LoregraphError {
  return new LoregraphError(
    "SOURCE_REFUSED",
    `the source has nothing of tenant ${tenant_id}, of which it gave entities before: nothing was deleted; if they are to go, sync with --allow-empty`,
  );
}

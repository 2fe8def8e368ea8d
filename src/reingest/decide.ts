import { z } from "zod";
import { type Db, many } from "../db.ts";
import type { RunRequest } from "../ledger/run.ts";
import { SourceType } from "../pipeline.ts";
import { count, newTally, type PairCount, Row, type Tally } from "./count.ts";
import type { Scope } from "./scope.ts";
import { type Reach, verdictsOf } from "./verdicts.ts";

export type { PairCount } from "./count.ts";

/** The last entity that was decided about. Pages go by type, then by id. */
export const Cursor = z.object({ source_type: SourceType, source_id: z.guid() });
export type Cursor = z.infer<typeof Cursor>;

export type Counted = {
  /** How many entities were looked at. */
  readonly seen: number;
  /** Pairs that are unchanged. */
  readonly skipped: number;
  readonly pairs: readonly PairCount[];
};

export type Decided = Counted & {
  /** What to enqueue: complete but for `reingest_id`. What follows from a base run of the same page is not among it. */
  readonly runs: readonly RunRequest[];
  /** After whom the next page begins, or null where nobody is left. */
  readonly next: Cursor | null;
};

/** Decides about the next `limit` entities after the cursor; the page may be shorter only at the end. */
export async function decidePage(
  db: Db,
  scope: Scope,
  after: Cursor | null,
  limit: number,
): Promise<Decided> {
  const tally = newTally(scope);
  const runs: RunRequest[] = [];
  for (const type of scope.types.filter((type) => after === null || type >= after.source_type)) {
    const from = after?.source_type === type ? after.source_id : null;
    const reach: Reach = { kind: "page", type, after: from, limit: limit - tally.seen };
    const last = await decideNext(db, tally, reach, runs);
    if (last !== null && tally.seen >= limit) {
      return { ...counted(tally), runs, next: { source_type: type, source_id: last } };
    }
  }
  return { ...counted(tally), runs, next: null };
}

/**
 * Decides about all entities of the scope by the same rule, in one pass, and returns the counts alone. For inside a
 * transaction: what must be seen one by one streams through a cursor, so memory stays flat.
 */
export async function decideAll(db: Db, scope: Scope): Promise<Counted> {
  const tally = newTally(scope);
  // All rows will be fetched; and compiling the statement takes longer than what it then saves.
  await db.query("set local cursor_tuple_fraction = 1");
  await db.query("set local jit = off");
  for (const type of scope.types) await decideType(db, tally, { kind: "all", type });
  return counted(tally);
}

async function decideType(db: Db, tally: Tally, reach: Reach): Promise<void> {
  const { text, values } = verdictsOf(tally.scope, reach);
  await db.query(`declare verdicts no scroll cursor for ${text}`, [...values]);
  for (let got = batch; got === batch; ) {
    const rows = await many(db, Row, `fetch ${batch} from verdicts`);
    for (const row of rows) count(tally, reach.type, row);
    got = rows.length;
  }
  await db.query("close verdicts");
}

const batch = 1_000;

/** Adds what is to be enqueued to `runs`. @returns the last entity of the page, or null where it is empty. */
async function decideNext(db: Db, tally: Tally, reach: Reach, runs: RunRequest[]): Promise<string | null> {
  const { text, values } = verdictsOf(tally.scope, reach);
  let last: string | null = null;
  for (const row of await many(db, Row, text, values)) {
    const run = count(tally, reach.type, row);
    if (run) runs.push(run);
    const at = row.last ?? row.source_id;
    if (at !== null && (last === null || at > last)) last = at;
  }
  return last;
}

function counted({ counts, seen }: Tally): Counted {
  const pairs = [...counts.values()];
  return { seen, skipped: pairs.reduce((sum, { skipped }) => sum + skipped, 0), pairs };
}

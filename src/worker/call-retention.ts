import type { Pool } from "../db.ts";
import { deleteOldCalls, foldSpends } from "../ledger/calls.ts";
import { deleteOldAnswers } from "../models/kept-answers.ts";

/** How many calls one statement deletes. */
const atOnce = 10_000;

/** Deletes single calls and kept answers that are too old, a statement at a time, and folds the sums of past days. */
export async function tidyCalls(pool: Pool, signal: AbortSignal): Promise<void> {
  await foldSpends(pool);
  await deleteOldAnswers(pool);
  for (let deleted = atOnce; deleted === atOnce && !signal.aborted; )
    deleted = await deleteOldCalls(pool, atOnce);
}

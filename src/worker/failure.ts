import { deleteCheckpoints } from "../../checkpoints/delete.ts";
import type { Db } from "../db.ts";
import type { LoregraphError } from "../errors.ts";
import { failAttempt } from "../ledger/attempt.ts";
import { noteCalls } from "../ledger/calls.ts";
import type { ClaimedRun } from "../ledger/run.ts";
import type { Pipeline } from "../pipeline.ts";
import { storableText } from "../store/storable.ts";
import { backoff } from "./backoff.ts";
import type { Context } from "./context.ts";
import type { Ended, Ends } from "./ended.ts";

/**
 * Commits that an attempt failed: its run waits for the next one, or is a dead letter.
 *
 * @returns when the run is due again, in milliseconds, where it is.
 */
export async function commitFailure(
  db: Db,
  { log }: Context,
  { run, pipeline, ending, usage, calls }: Ended<Ends<"retry" | "hopeless">>,
): Promise<number | undefined> {
  const { error } = ending;
  const retryInMs = ending.kind === "hopeless" ? null : retryDelay(pipeline, run, error);
  const counts = ending.kind === "hopeless" || ending.counts;
  const failure = { code: error.code, message: storableText(error.message), retryInMs, counts, usage };
  const status = await failAttempt(db, run, failure);
  await noteCalls(db, calls);
  if (error.code === "COMMIT_FAILED") await deleteCheckpoints(db, run.id);
  log.warn({ code: error.code, kind: kindOf(error), status }, "attempt-failed");
  return status === "pending" && retryInMs !== null ? retryInMs : undefined;
}

function retryDelay({ retries }: Pipeline, { failures }: ClaimedRun, { after }: LoregraphError): number {
  return after ? Math.max(0, after.getTime() - Date.now()) : backoff(retries, failures + 1);
}

/** What failed at the bottom of it, by name. */
function kindOf({ cause, name }: LoregraphError): string {
  return cause instanceof Error ? cause.name : name;
}

import { isConnectionError, transaction } from "../db.ts";
import { LoregraphError, messageOf } from "../errors.ts";
import { endCancelled, parkRun } from "../ledger/attempt.ts";
import { wakeWorkers } from "../ledger/enqueue.ts";
import { releaseRuns } from "../ledger/release.ts";
import { pause } from "../pause.ts";
import type { Usage } from "../pipeline.ts";
import { storableJson } from "../store/storable.ts";
import { commitAnswer, commitDuplicate } from "./answer.ts";
import type { Context } from "./context.ts";
import type { Ended } from "./ended.ts";
import type { Ending } from "./ending.ts";
import { commitFailure } from "./failure.ts";

export type Committed = {
  /** That of the attempt, or the failure to store it. */
  readonly ending: Ending;
  /** When the run is due again, in milliseconds from then. */
  readonly retryInMs?: number | undefined;
  /** What the attempt used of models. */
  readonly usage?: Usage;
};

/**
 * Commits how an attempt ended, in one transaction: the ledger, what was learnt, the events and the runs that follow
 * from them. Where the database is away, it waits and tries again: the answer was paid for. What the database
 * refuses becomes a failure like any other. Where the lease was lost, nothing is stored.
 */
export async function commitEnding(context: Context, ended: Ended, signal: AbortSignal): Promise<Committed> {
  for (let tries = 1; ; tries++) {
    try {
      return { ending: ended.ending, retryInMs: await commitOnce(context, ended) };
    } catch (error) {
      if (leaseLost(error)) return lost(context);
      if (!passes(error, tries)) return await commitRefused(context, ended, error, signal);
      context.log.warn({ tries }, "commit-delayed");
      await pause(Math.min(5_000, 50 * 2 ** tries), signal.aborted ? undefined : signal);
    }
  }
}

/** @returns when the run is due again, in milliseconds, where it is. */
async function commitOnce(context: Context, ended: Ended): Promise<number | undefined> {
  const { pool } = context;
  const { run, ending, usage } = ended;
  switch (ending.kind) {
    case "answered":
      await transaction(pool, (db) => commitAnswer(db, context, { ...ended, ending }));
      return;
    case "duplicate":
      await transaction(pool, (db) => commitDuplicate(db, context, { ...ended, ending }));
      return;
    case "waiting":
      await parkRun(pool, run, storableJson({ question: ending.question }).question, usage);
      return;
    case "retry":
    case "hopeless":
      return await transaction(pool, (db) => commitFailure(db, context, { ...ended, ending }));
    case "cancelled":
      await endCancelled(pool, run, ending.reason, usage);
      return;
    case "released":
      await commitRelease(context, ended);
      return;
    case "lost":
      lost(context);
  }
}

async function commitRelease({ pool }: Context, { run }: Ended): Promise<void> {
  await transaction(pool, async (db) => {
    await releaseRuns(db, [run]);
    await wakeWorkers(db);
  });
}

function leaseLost(error: unknown): boolean {
  return error instanceof LoregraphError && error.code === "LEASE_LOST";
}

function lost({ log }: Context): Committed {
  log.warn("lease-lost");
  return { ending: { kind: "lost" } };
}

/**
 * Will the same transaction go through later? Then it is tried up to twenty times, over a minute: a lost connection, a
 * server without room or that is stopping, a standby, a lock. Two that met on one key have made way by the next try.
 */
function passes(error: unknown, tries: number): boolean {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  if (code === "23505") return tries < 5;
  return tries < 20 && (isConnectionError(error) || /^(40|53|57|58|55P03|25006)/.test(code));
}

/** The run must not hang on it, nor may its next attempt find the same answer finished. */
async function commitRefused(
  context: Context,
  ended: Ended,
  cause: unknown,
  signal: AbortSignal,
): Promise<Committed> {
  const { kind } = ended.ending;
  if (kind === "retry" || kind === "hopeless" || isConnectionError(cause)) throw cause;
  const message = `how the attempt ended could not be stored: ${messageOf(cause)}`;
  const error = new LoregraphError("COMMIT_FAILED", message, { cause });
  return await commitEnding(context, { ...ended, ending: { kind: "retry", error, counts: true } }, signal);
}

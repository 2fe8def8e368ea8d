import { isDeepStrictEqual } from "node:util";
import { isConnectionError, transaction } from "../db.ts";
import { LoregraphError, messageOf } from "../errors.ts";
import { noteCalls } from "../ledger/calls.ts";
import { chargeRun } from "../ledger/charge.ts";
import { wakeWorkers } from "../ledger/enqueue.ts";
import { leaseLost } from "../ledger/lease.ts";
import { releaseRuns } from "../ledger/release.ts";
import { pause } from "../pause.ts";
import { noUsage, type Usage } from "../pipeline.ts";
import type { Context } from "./context.ts";
import type { Ended } from "./ended.ts";
import type { Ending } from "./ending.ts";
import { commitFailure } from "./failure.ts";
import { type Settling, settled } from "./settled.ts";
import type { SharedContext } from "./together.ts";

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
 * from them. Endings that are due together share one. Where the database is away, it waits and tries again: the answer
 * was paid for. What the database refuses becomes a failure like any other. Where the lease was lost, nothing is stored
 * but what was asked of models.
 */
export async function commitEnding(
  context: SharedContext,
  ended: Ended,
  signal: AbortSignal,
): Promise<Committed> {
  for (let tries = 1; ; tries++) {
    try {
      return { ending: ended.ending, retryInMs: await commitOnce(context, ended) };
    } catch (error) {
      // What came with a failure was undone: it is noted by itself. What was noted before is not noted again.
      if (isLeaseLost(error))
        return await commitEnding(context, { ...ended, ending: { kind: "lost" } }, signal);
      if (!passes(error, tries)) return await commitRefused(context, ended, error, signal);
      context.log.warn({ tries }, "commit-delayed");
      await pause(Math.min(5_000, 50 * 2 ** tries), signal.aborted ? undefined : signal);
    }
  }
}

/**
 * What leaves a run pending again is committed by itself: it may meet a newer run of its key, and then all that came
 * with it would have to be done again.
 *
 * @returns when the run is due again, in milliseconds, where it is.
 */
async function commitOnce(context: SharedContext, ended: Ended): Promise<number | undefined> {
  const { ending } = ended;
  switch (ending.kind) {
    case "answered":
    case "duplicate":
    case "waiting":
    case "cancelled":
      await commitSettled(context, { ...ended, ending });
      return;
    case "retry":
    case "hopeless":
      return await transaction(context.pool, (db) => commitFailure(db, context, { ...ended, ending }));
    case "released":
      await commitRelease(context, ended);
      return;
    case "lost":
      await noteCalls(context.pool, ended.calls);
      context.log.warn("lease-lost");
  }
}

async function commitSettled({ together }: SharedContext, ended: Settling): Promise<void> {
  const held = await together.endings.do(settled(ended));
  if (!held) throw leaseLost(ended.run);
}

async function commitRelease({ pool }: Context, { run, usage, calls }: Ended): Promise<void> {
  await transaction(pool, async (db) => {
    if (!isDeepStrictEqual(usage, noUsage)) await chargeRun(db, run, usage);
    await releaseRuns(db, [run]);
    await noteCalls(db, calls);
    await wakeWorkers(db);
  });
}

function isLeaseLost(error: unknown): boolean {
  return error instanceof LoregraphError && error.code === "LEASE_LOST";
}

/**
 * Will the same transaction go through later? Then it is tried up to twenty times, over a minute: a lost connection, a
 * server without room or that is stopping, a standby, a lock. Two that met on one key have made way by the next try.
 */
function passes(error: unknown, tries: number): boolean {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  if (code === "23505") return tries < 5;
  return tries < 20 && (isConnectionError(error) || /^(40|57|58|55P03|25006)/.test(code));
}

/** The run must not hang on it, nor may its next attempt find the same answer finished. */
async function commitRefused(
  context: SharedContext,
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

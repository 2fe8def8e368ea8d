import type { WebhookSettings } from "../config.ts";
import { contendedTransaction, type Db, transaction } from "../db.ts";
import { LoregraphError } from "../errors.ts";
import { endCancelled, failAttempt, succeedRun } from "../ledger/attempt.ts";
import { enqueueRuns, wakeWorkers } from "../ledger/enqueue.ts";
import { releaseRuns } from "../ledger/release.ts";
import type { ClaimedRun } from "../ledger/run.ts";
import { noUsage } from "../pipeline.ts";
import { owedRuns, webhookOf } from "../store/deliveries.ts";
import { noteFailing } from "../store/webhooks.ts";
import { backoff } from "../worker/backoff.ts";
import type { Committed } from "../worker/commit.ts";
import type { Context } from "../worker/context.ts";
import type { Ending } from "../worker/ending.ts";
import { disable } from "./life.ts";

const [seconds, hours] = [1_000, 3_600_000];
const retries = { attempts: Number.POSITIVE_INFINITY, base: 5 * seconds, most: 6 * hours };

/**
 * Commits how an attempt to deliver ended. Where the database is away it throws: what was delivered is settled
 * already, and the lease runs out by itself. Where the lease was lost, nothing is stored.
 */
export async function commitDelivery(
  context: Context,
  settings: WebhookSettings,
  run: ClaimedRun,
  ending: Ending,
): Promise<Committed> {
  try {
    return { ending, retryInMs: await commitOnce(context, settings, run, ending) };
  } catch (error) {
    if (!(error instanceof LoregraphError && error.code === "LEASE_LOST")) throw error;
    context.log.warn("lease-lost");
    return { ending: { kind: "lost" } };
  }
}

/** @returns when the run is due again, in milliseconds, where it is. */
async function commitOnce(
  context: Context,
  settings: WebhookSettings,
  run: ClaimedRun,
  ending: Ending,
): Promise<number | undefined> {
  const { pool } = context;
  switch (ending.kind) {
    case "delivered":
      await contendedTransaction(pool, (db) => commitDelivered(db, run, ending.events));
      return;
    case "retry":
    case "hopeless":
      return await contendedTransaction(pool, (db) => commitFailed(db, context, settings, run, ending));
    case "cancelled":
      await endCancelled(pool, run, ending.reason, noUsage);
      return;
    case "released":
      await transaction(pool, (db) => commitReleased(db, run));
      return;
    case "lost":
      context.log.warn("lease-lost");
      return;
    default:
      throw new Error(`expected how a delivery ends, got: ${ending.kind}`);
  }
}

/** What is still owed, because its turn was over, becomes the next run. */
async function commitDelivered(db: Db, run: ClaimedRun, events: number): Promise<void> {
  const outcome = events > 0 ? "completed" : "skipped";
  await succeedRun(db, run, { outcome, usage: noUsage });
  const { tenant_id } = run;
  await enqueueRuns(db, await owedRuns(db, { tenant_id, webhook_id: webhookOf(run), about: run }));
}

async function commitReleased(db: Db, run: ClaimedRun): Promise<void> {
  await releaseRuns(db, [run]);
  await wakeWorkers(db);
}

type Failed = Extract<Ending, { kind: "retry" | "hopeless" }>;

/** The webhook's row first: two attempts that fail at once take turns, and only one of them disables it. */
async function commitFailed(
  db: Db,
  context: Context,
  settings: WebhookSettings,
  run: ClaimedRun,
  ending: Failed,
): Promise<number | undefined> {
  if (ending.error.code !== "WEBHOOK_FAILED") return await failDelivery(db, context, run, ending);
  const webhook = { tenant_id: run.tenant_id, id: webhookOf(run) };
  const failingMs = await noteFailing(db, webhook.tenant_id, webhook.id);
  const because = whyDisabled(ending, failingMs, settings);
  if (because === undefined) return await failDelivery(db, context, run, ending);
  if (failingMs !== undefined) await disable(db, context.registry, { ...webhook, because });
  context.log.warn({ webhook: webhook.id, kind: ending.kind }, "webhook-disabled");
  await endCancelled(db, run, because, noUsage);
  return undefined;
}

/** Why a webhook gets nothing more after this failure, or undefined where it is tried again. */
function whyDisabled(
  { kind, error }: Failed,
  failingMs: number | undefined,
  { disableAfterMs }: WebhookSettings,
): string | undefined {
  if (failingMs === undefined) return "its webhook is disabled";
  if (kind === "hopeless") return error.message;
  if (failingMs < disableAfterMs) return undefined;
  return `every delivery failed for ${Math.round(failingMs / hours)} hours; the last time, ${error.message}`;
}

/** @returns when the run is due again, in milliseconds, where it is. */
async function failDelivery(
  db: Db,
  { log }: Context,
  run: ClaimedRun,
  ending: Failed,
): Promise<number | undefined> {
  const { code, message } = ending.error;
  const retryInMs = ending.kind === "hopeless" ? null : retryDelay(run, ending.error);
  const counts = ending.kind === "hopeless" || ending.counts;
  const status = await failAttempt(db, run, { code, message, retryInMs, counts, usage: noUsage });
  log.warn({ code, status }, "attempt-failed");
  return status === "pending" && retryInMs !== null ? retryInMs : undefined;
}

/** A subscriber may name its time, within ours: neither at once nor next year. */
function retryDelay({ failures }: ClaimedRun, { after }: LoregraphError): number {
  if (after === undefined) return backoff(retries, failures + 1);
  return Math.min(retries.most, Math.max(retries.base, after.getTime() - Date.now()));
}

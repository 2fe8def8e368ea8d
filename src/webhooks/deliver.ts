import type { WebhookSettings } from "../config.ts";
import { orUnavailable, type Pool } from "../db.ts";
import { LoregraphError } from "../errors.ts";
import type { ClaimedRun } from "../ledger/run.ts";
import { type DeliveryKey, nextOwed, settleDelivery, webhookOf } from "../store/deliveries.ts";
import type { Attempt } from "../worker/attempt.ts";
import { type Ending, endingOf } from "../worker/ending.ts";
import { commitDelivery } from "./commit.ts";
import { type Answer, openSender, type Send } from "./send.ts";

/** How long one run delivers before it makes way for others, in milliseconds; what is left becomes the next run. */
const turnMs = 30_000;

/**
 * The attempt of a worker that delivers: it sends what its run's webhook is owed about its run's subject, event by
 * event in their order, until nothing is owed or one fails.
 *
 * What is owed is a row for each event and no place in the stream: an event that commits after a later one has its
 * row all the same. A row goes once its event was taken, so that a crash repeats one delivery at most.
 */
export function deliveryAttempt(settings: WebhookSettings): Attempt {
  const send = openSender(settings);
  return async (context, run, { signal }) => {
    const started = performance.now();
    const ending = await deliver(context.pool, run, send, signal);
    const committed = await commitDelivery(context, settings, run, ending);
    const ms = Math.round(performance.now() - started);
    context.log.debug({ ending: committed.ending.kind, ms }, "attempt-ended");
    return committed;
  };
}

async function deliver(pool: Pool, run: ClaimedRun, send: Send, signal: AbortSignal): Promise<Ending> {
  try {
    return await deliverOwed(pool, { ...run, webhook_id: webhookOf(run) }, send, signal);
  } catch (error) {
    return endingOf(error, signal);
  }
}

async function deliverOwed(pool: Pool, key: DeliveryKey, send: Send, signal: AbortSignal): Promise<Ending> {
  const until = performance.now() + turnMs;
  for (let events = 0; ; events++) {
    const owed = performance.now() < until ? await orUnavailable(() => nextOwed(pool, key)) : undefined;
    if (owed === undefined) return { kind: "delivered", events };
    const answer = await send({ ...owed, id: messageId(key.webhook_id, owed.event) }, signal);
    if (!taken(answer)) return refused(answer);
    await orUnavailable(() => settleDelivery(pool, key, owed.event.id));
  }
}

/** Names an event to one webhook, however often it is sent. */
function messageId(webhook_id: string, { id }: { readonly id: number }): string {
  return `${webhook_id.replaceAll("-", "")}_${id}`;
}

export function taken({ status }: Answer): boolean {
  return status >= 200 && status < 300;
}

/** A subscriber that is gone is not asked again; one that names a time is asked then, and loses no attempt by it. */
function refused({ status, after }: Answer): Ending {
  if (status === 410) return { kind: "hopeless", error: failure("the subscriber answered 410: it is gone") };
  const heeded = status === 429 || status === 503 ? after : undefined;
  const error = failure(`the subscriber answered ${status}`, heeded);
  return { kind: "retry", error, counts: heeded === undefined };
}

function failure(message: string, after?: Date): LoregraphError {
  return new LoregraphError("WEBHOOK_FAILED", message, after && { after });
}

import type { Db } from "../db.ts";
import { loregraphError } from "../errors.ts";
import { targetOf } from "../store/webhooks.ts";
import { taken } from "./deliver.ts";
import type { Send } from "./send.ts";

/** What became of a trial delivery. */
export type Trial = {
  readonly delivered: boolean;
  /** The HTTP status that the subscriber answered; null where it did not. */
  readonly status: number | null;
  readonly error: string | null;
  readonly ms: number;
};

/**
 * Sends one `webhook.test` event to a webhook, enabled or not, and tells what became of it. The event is in no log, so
 * its id is 0; a failure counts for nothing. Throws NOT_FOUND.
 */
export async function tryWebhook(db: Db, send: Send, tenant_id: string, id: string): Promise<Trial> {
  const target = await targetOf(db, tenant_id, id);
  const event = {
    id: 0,
    event: "webhook.test",
    tenant_id,
    source_type: "tenant" as const,
    source_id: tenant_id,
    version: 1,
    occurred_at: new Date().toISOString(),
    metadata: { webhook_id: id },
  };
  const started = performance.now();
  const tried = await sent(() => send({ ...target, id: `test_${crypto.randomUUID()}`, event }));
  return { ...tried, ms: Math.round(performance.now() - started) };
}

async function sent(send: () => ReturnType<Send>): Promise<Omit<Trial, "ms">> {
  try {
    const answer = await send();
    const delivered = taken(answer);
    const error = delivered ? null : `the subscriber answered ${answer.status}`;
    return { delivered, status: answer.status, error };
  } catch (error) {
    const known = loregraphError(error);
    if (known?.code !== "WEBHOOK_FAILED") throw error;
    return { delivered: false, status: null, error: known.message };
  }
}

import { contendedTransaction, type Db, type Pool } from "../db.ts";
import { enqueueRuns } from "../ledger/enqueue.ts";
import { publish } from "../publish.ts";
import type { Registry } from "../registry.ts";
import { forgiveDeliveries, owedRuns } from "../store/deliveries.ts";
import { forgetWebhook, foundWebhook, noteDisabled, noteEnabled, type Webhook } from "../store/webhooks.ts";
import { cancelDeliveries, stopDeliveries } from "./cancel.ts";

/** What a webhook was owed when it was disabled is kept; once it is older than this, it is not delivered any more. */
const keptDays = 30;

/**
 * Enables a webhook: it is owed events again, and gets what it was owed when it was disabled and that is no older than
 * thirty days. What happened in between it does not get: the stream of events has it. Throws NOT_FOUND.
 */
export async function enableWebhook(pool: Pool, tenant_id: string, id: string): Promise<Webhook> {
  return await contendedTransaction(pool, async (db) => {
    await noteEnabled(db, tenant_id, id);
    await forgiveDeliveries(db, { tenant_id, webhook_id: id }, keptDays);
    await enqueueOwed(db, tenant_id, id);
    return await foundWebhook(db, tenant_id, id);
  });
}

async function enqueueOwed(db: Db, tenant_id: string, webhook_id: string): Promise<void> {
  for (let page = await owedRuns(db, { tenant_id, webhook_id }); page.length > 0; ) {
    await enqueueRuns(db, page);
    page = await owedRuns(db, { tenant_id, webhook_id, after: page.at(-1) });
  }
}

/** Disables a webhook on request, whether or not it is already. Throws NOT_FOUND. */
export async function disableWebhook(
  pool: Pool,
  registry: Registry,
  tenant_id: string,
  id: string,
): Promise<Webhook> {
  return await contendedTransaction(pool, async (db) => {
    await disable(db, registry, { tenant_id, id, because: "it was asked for" });
    return await foundWebhook(db, tenant_id, id);
  });
}

export type Disabling = { readonly tenant_id: string; readonly id: string; readonly because: string };

/** Disables a webhook, cancels its deliveries that have not begun and tells the tenant's other subscribers, once. */
export async function disable(db: Db, registry: Registry, disabling: Disabling): Promise<void> {
  const { tenant_id, id, because } = disabling;
  if (!(await noteDisabled(db, tenant_id, id, because))) return;
  await cancelDeliveries(db, tenant_id, id);
  await publish(db, registry, [
    {
      event: "webhook.disabled",
      tenant_id,
      source_type: "tenant",
      source_id: tenant_id,
      version: 1,
      metadata: { webhook_id: id, because },
    },
  ]);
}

/** Forgets a webhook with all that it was owed, and stops its deliveries. Throws NOT_FOUND. */
export async function deleteWebhook(pool: Pool, tenant_id: string, id: string): Promise<void> {
  await contendedTransaction(pool, async (db) => {
    await forgetWebhook(db, tenant_id, id);
    await cancelDeliveries(db, tenant_id, id);
    await stopDeliveries(db, tenant_id, id);
  });
}

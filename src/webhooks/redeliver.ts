import { z } from "zod";
import { type Db, maybeOne } from "../db.ts";
import { LoregraphError } from "../errors.ts";
import { enqueueRuns } from "../ledger/enqueue.ts";
import { oweDeliveries } from "../store/deliveries.ts";

/**
 * Owes an event again, in the caller's transaction: to the enabled webhooks that want it, or to the one that is named,
 * whichever events that wants. It goes out under the same `webhook-id` as before.
 *
 * @returns how many webhooks will get it. Throws NOT_FOUND for an unknown event or webhook, INPUT_INVALID for a
 *   webhook that is disabled.
 */
export async function redeliver(
  db: Db,
  tenant_id: string,
  event_id: number,
  webhook_id?: string,
): Promise<number> {
  await assertEvent(db, tenant_id, event_id);
  if (webhook_id !== undefined) await assertEnabled(db, tenant_id, webhook_id);
  const runs = await oweDeliveries(db, { tenant_ids: [tenant_id], event_ids: [event_id], webhook_id });
  await enqueueRuns(db, runs);
  return runs.length;
}

async function assertEvent(db: Db, tenant_id: string, event_id: number): Promise<void> {
  const event = await maybeOne(
    db,
    z.object({ id: z.coerce.number() }),
    "select id from events where tenant_id = $1 and id = $2",
    [tenant_id, event_id],
  );
  if (event === undefined)
    throw new LoregraphError("NOT_FOUND", `tenant ${tenant_id} has no event ${event_id}`);
}

async function assertEnabled(db: Db, tenant_id: string, webhook_id: string): Promise<void> {
  const webhook = await maybeOne(
    db,
    z.object({ disabled: z.boolean() }),
    "select disabled_at is not null as disabled from webhooks where tenant_id = $1 and id = $2",
    [tenant_id, webhook_id],
  );
  if (webhook === undefined)
    throw new LoregraphError("NOT_FOUND", `tenant ${tenant_id} has no webhook ${webhook_id}`);
  if (webhook.disabled)
    throw new LoregraphError("INPUT_INVALID", `webhook ${webhook_id} is disabled: enable it first`);
}

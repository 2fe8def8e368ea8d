import { z } from "zod";
import { type Db, execute, many, maybeOne, prepared } from "../db.ts";
import { LoreEvent, SubjectType } from "../pipeline.ts";

/** What a webhook's deliveries are to the ledger: runs of a pipeline of its own. No graph's name holds a colon. */
export const deliveryPipeline = (webhook_id: string): `webhook:${string}` => `webhook:${webhook_id}`;

/**
 * With their backoff they take about a week, which is longer than a webhook may fail by default: it is being disabled
 * that ends them, and not a subscriber's bad evening. One event that is never taken becomes a dead letter.
 */
const attempts = 50;

/** The webhook that a run delivers to. */
export function webhookOf({ pipeline }: { readonly pipeline: string }): string {
  return pipeline.slice("webhook:".length);
}

/** What is owed to one webhook about one subject, as the run that delivers it. */
const DeliveryRun = z.object({
  tenant_id: z.guid(),
  pipeline: z.string(),
  source_type: SubjectType,
  source_id: z.guid(),
  source_version: z.int(),
  cause_event: z.coerce.number(),
  priority: z.int(),
  max_attempts: z.int(),
});
export type DeliveryRun = z.infer<typeof DeliveryRun>;

const runsOf = (owed: string) => `
  select tenant_id, 'webhook:' || webhook_id as pipeline, source_type, source_id,
    max(version) as source_version, max(event_id) as cause_event, 0 as priority, ${attempts} as max_attempts
  from ${owed}
  group by tenant_id, webhook_id, source_type, source_id`;

export type Owing = {
  readonly tenant_ids: readonly string[];
  readonly event_ids: readonly number[];
  /** Only to this one, whichever events it wants. Defaults to all that want them. */
  readonly webhook_id?: string | undefined;
};

/**
 * Owes events to the enabled webhooks that want them, in the transaction that appended them. Where there are none, it
 * costs one look at an index: 0.1 ms.
 *
 * @returns the runs that deliver them, to be enqueued in the same transaction.
 */
export async function oweDeliveries(
  db: Db,
  { tenant_ids, event_ids, webhook_id }: Owing,
): Promise<readonly DeliveryRun[]> {
  const webhooks = await many(db, Enabled, enabledSql, [tenant_ids, webhook_id ?? null]);
  if (webhooks.length === 0) return [];
  const ids = webhooks.map(({ id }) => id);
  return await many(db, DeliveryRun, oweSql, [tenant_ids, ids, event_ids, webhook_id !== undefined]);
}

const Enabled = z.object({ id: z.guid() });

// Locked: a webhook that is being deleted is waited for and then passed over. By its foreign key alone, the insert would
// fail, and with it the commit of the answer whose events these are.
const enabledSql = prepared(`
  select id from webhooks
  where tenant_id = any ($1) and disabled_at is null and ($2::uuid is null or id = $2)
  order by tenant_id, id
  for key share`);

const oweSql = `
  with owed as materialized (
    select event.tenant_id, webhook.id as webhook_id, event.id as event_id, source_type, source_id, version
    from webhooks webhook
    join events event on event.tenant_id = webhook.tenant_id and event.id = any ($3::bigint[])
    where webhook.tenant_id = any ($1) and webhook.id = any ($2)
      and ($4 or webhook.events is null or event.event = any (webhook.events))
  ),
  kept as (
    insert into webhook_deliveries (tenant_id, webhook_id, event_id, source_type, source_id)
    select tenant_id, webhook_id, event_id, source_type, source_id
    from owed
    order by tenant_id, webhook_id, source_type, source_id, event_id
    on conflict do nothing
  )
  ${runsOf("owed")}`;

/** A webhook and a subject: what one run delivers. */
export type DeliveryKey = {
  readonly tenant_id: string;
  readonly webhook_id: string;
  readonly source_type: SubjectType;
  readonly source_id: string;
};

const keyOf = ({ tenant_id, webhook_id, source_type, source_id }: DeliveryKey) =>
  [tenant_id, webhook_id, source_type, source_id] as const;

/** An event as its subscriber gets it: the contract's, with its id. */
export const SentEvent = LoreEvent.extend({ id: z.coerce.number() });
export type SentEvent = z.infer<typeof SentEvent>;

const Owed = SentEvent.extend({
  occurred_at: z.date().transform((at) => at.toISOString()),
  url: z.string(),
  secret: z.string(),
}).transform(({ url, secret, ...event }) => ({ url, secret, event }));
export type Owed = z.infer<typeof Owed>;

/** The event that is to be delivered next, and where to; undefined where nothing is owed, or not any more. */
export async function nextOwed(db: Db, key: DeliveryKey): Promise<Owed | undefined> {
  return await maybeOne(
    db,
    Owed,
    `select event.id, event.event, event.tenant_id, event.source_type, event.source_id, event.version,
       event.occurred_at, event.metadata, webhook.url, webhook.secret
     from webhook_deliveries owed
     join webhooks webhook
       on webhook.tenant_id = owed.tenant_id and webhook.id = owed.webhook_id and webhook.disabled_at is null
     join events event on event.tenant_id = owed.tenant_id and event.id = owed.event_id
     where (owed.tenant_id, owed.webhook_id, owed.source_type, owed.source_id) = ($1, $2, $3, $4)
     order by owed.event_id
     limit 1`,
    keyOf(key),
  );
}

/** Notes that an event was taken: it is owed no more, and its webhook fails no more. */
export async function settleDelivery(db: Db, key: DeliveryKey, event_id: number): Promise<void> {
  await execute(db, settleSql, [...keyOf(key), event_id]);
}

// A subscriber that comes back after a minute or more gets at once what it missed: its other runs may be hours from
// their next attempt. They are not waited for, so that nobody can wait for us in turn.
const settleSql = `
  with delivered as (
    delete from webhook_deliveries
    where (tenant_id, webhook_id, source_type, source_id, event_id) = ($1, $2, $3, $4, $5)
  ),
  failing as materialized (
    select tenant_id, id, failing_since from webhooks
    where tenant_id = $1 and id = $2 and failing_since is not null
  ),
  recovered as (
    update webhooks set failing_since = null
    from failing
    where webhooks.tenant_id = failing.tenant_id and webhooks.id = failing.id
  ),
  held_up as materialized (
    select run.tenant_id, run.id
    from failing
    join pipeline_runs run on run.tenant_id = failing.tenant_id and run.pipeline = 'webhook:' || failing.id
    where run.status = 'pending' and run.run_after > now()
      and failing.failing_since < now() - interval '1 minute'
    for update of run skip locked
  )
  update pipeline_runs run set run_after = now()
  from held_up
  where run.tenant_id = held_up.tenant_id and run.id = held_up.id and run.status = 'pending'`;

export type OwedOf = Pick<DeliveryKey, "tenant_id" | "webhook_id"> & {
  /** Only about this subject. Defaults to all. */
  readonly about?: Pick<DeliveryKey, "source_type" | "source_id"> | undefined;
  /** Those that come after this one, by its type and id. Defaults to the first. */
  readonly after?: Pick<DeliveryKey, "source_type" | "source_id"> | undefined;
};

/** The runs that an enabled webhook still needs, by their subjects, at most a thousand. */
export async function owedRuns(db: Db, owed: OwedOf): Promise<readonly DeliveryRun[]> {
  const { tenant_id, webhook_id, about, after } = owed;
  return await many(db, DeliveryRun, owedRunsSql, [
    tenant_id,
    webhook_id,
    about?.source_type ?? null,
    about?.source_id ?? null,
    after?.source_type ?? null,
    after?.source_id ?? null,
  ]);
}

const owedRunsSql = `
  ${runsOf(`(
    select owed.*, event.version
    from webhook_deliveries owed
    join webhooks webhook
      on webhook.tenant_id = owed.tenant_id and webhook.id = owed.webhook_id and webhook.disabled_at is null
    join events event on event.tenant_id = owed.tenant_id and event.id = owed.event_id
    where owed.tenant_id = $1 and owed.webhook_id = $2
      and ($3::text is null or (owed.source_type, owed.source_id) = ($3, $4::uuid))
      and ($5::text is null or (owed.source_type, owed.source_id) > ($5, $6::uuid))
  ) owed`)}
  order by source_type, source_id
  limit 1000`;

/** Forgets what was owed for longer than `days`, and what is owed of events that are gone. Returns how many. */
export async function forgiveDeliveries(
  db: Db,
  { tenant_id, webhook_id }: Pick<DeliveryKey, "tenant_id" | "webhook_id">,
  days: number,
): Promise<number> {
  return await execute(
    db,
    `delete from webhook_deliveries owed
     where tenant_id = $1 and webhook_id = $2 and not exists (
       select from events event
       where event.tenant_id = owed.tenant_id and event.id = owed.event_id
         and event.occurred_at > now() - $3 * interval '1 day'
     )`,
    [tenant_id, webhook_id, days],
  );
}

import { randomBytes } from "node:crypto";
import { z } from "zod";
import { type Db, execute, many, maybeOne, one } from "../db.ts";
import { LoregraphError } from "../errors.ts";
import { deliveryPipeline } from "./deliveries.ts";

/** A subscriber to a tenant's events, without its secret. */
export const Webhook = z.object({
  tenant_id: z.guid(),
  id: z.guid(),
  url: z.string(),
  /** The names of the events that it gets; null for all. */
  events: z.array(z.string()).nullable(),
  description: z.string(),
  created_at: z.date(),
  /** Since when every delivery to it failed. */
  failing_since: z.date().nullable(),
  disabled_at: z.date().nullable(),
  disabled_because: z.string().nullable(),
  /** How many deliveries it is owed, of which at most 10,000 are counted. */
  owed: z.coerce.number(),
  /** Why one of those failed the last time, while it fails. */
  last_error: z.string().nullable(),
});
export type Webhook = z.infer<typeof Webhook>;

/** How many webhooks a tenant may have, and how many deliveries to one may go on at a time. */
const mostWebhooks = 50;
const mostAtATime = 2;

const columns = `
  tenant_id, id, url, events, description, created_at, failing_since, disabled_at, disabled_because,
  (
    select count(*) from (
      select from webhook_deliveries owed
      where owed.tenant_id = webhook.tenant_id and owed.webhook_id = webhook.id
      limit 10000
    ) counted
  ) as owed,
  case when failing_since is not null then (
    select error_message
    from pipeline_runs run
    where run.tenant_id = webhook.tenant_id and run.pipeline = 'webhook:' || webhook.id
      and run.status = 'pending' and run.error_message is not null
    order by run.priority desc, run.run_after desc
    limit 1
  ) end as last_error`;

export type NewWebhook = Pick<Webhook, "url" | "events" | "description">;
export type WebhookWithSecret = Webhook & { readonly secret: string };

/**
 * Makes a webhook with a new secret, in the caller's transaction: this is where its owner gets to see it. Throws
 * INPUT_INVALID where the tenant has fifty.
 */
export async function createWebhook(
  db: Db,
  tenant_id: string,
  { url, events, description }: NewWebhook,
): Promise<WebhookWithSecret> {
  await assertRoom(db, tenant_id);
  const secret = newSecret();
  const { id } = await one(
    db,
    z.object({ id: z.guid() }),
    `insert into webhooks (tenant_id, url, secret, events, description) values ($1, $2, $3, $4, $5) returning id`,
    [tenant_id, url, secret, events, description],
  );
  await execute(db, "insert into pipeline_controls (pipeline, max_running) values ($1, $2)", [
    deliveryPipeline(id),
    mostAtATime,
  ]);
  return { ...(await foundWebhook(db, tenant_id, id)), secret };
}

async function assertRoom(db: Db, tenant_id: string): Promise<void> {
  await execute(db, "select pg_advisory_xact_lock(hashtext(current_schema() || '.webhooks ' || $1))", [
    tenant_id,
  ]);
  const { webhooks } = await one(
    db,
    z.object({ webhooks: z.coerce.number() }),
    "select count(*) as webhooks from webhooks where tenant_id = $1",
    [tenant_id],
  );
  if (webhooks < mostWebhooks) return;
  throw new LoregraphError("INPUT_INVALID", `a tenant may have ${mostWebhooks} webhooks: delete one first`);
}

function newSecret(): string {
  return `whsec_${randomBytes(32).toString("base64")}`;
}

export type WebhookPage = {
  /** Those that come after the one with this id. Defaults to the first. */
  readonly after?: string | undefined;
  readonly limit: number;
};

/** A tenant's webhooks, oldest first. */
export async function listWebhooks(
  db: Db,
  tenant_id: string,
  { after, limit }: WebhookPage,
): Promise<readonly Webhook[]> {
  return await many(
    db,
    Webhook,
    `select ${columns} from webhooks webhook
     where tenant_id = $1 and ($2::uuid is null or id > $2)
     order by id
     limit $3`,
    [tenant_id, after ?? null, limit],
  );
}

/** Throws NOT_FOUND. */
export async function foundWebhook(db: Db, tenant_id: string, id: string): Promise<Webhook> {
  const webhook = await maybeOne(
    db,
    Webhook,
    `select ${columns} from webhooks webhook where tenant_id = $1 and id = $2`,
    [tenant_id, id],
  );
  return webhook ?? missing(tenant_id, id);
}

const Target = z.object({ url: z.string(), secret: z.string() });
export type Target = z.infer<typeof Target>;

/** Where a webhook's deliveries go, and what signs them. Throws NOT_FOUND. */
export async function targetOf(db: Db, tenant_id: string, id: string): Promise<Target> {
  const values = [tenant_id, id];
  const sql = "select url, secret from webhooks where tenant_id = $1 and id = $2";
  return (await maybeOne(db, Target, sql, values)) ?? missing(tenant_id, id);
}

function missing(tenant_id: string, id: string): never {
  throw new LoregraphError("NOT_FOUND", `tenant ${tenant_id} has no webhook ${id}`);
}

export type WebhookChange = {
  readonly [Field in keyof NewWebhook]?: NewWebhook[Field] | undefined;
};

/** Changes what is given. What is owed goes to a new URL too, which has not failed yet. Throws NOT_FOUND. */
export async function changeWebhook(
  db: Db,
  tenant_id: string,
  id: string,
  change: WebhookChange,
): Promise<Webhook> {
  const { url, events, description } = change;
  const changed = await execute(
    db,
    `update webhooks set
       url           = coalesce($3, url),
       failing_since = case when $3 <> url then null else failing_since end,
       events        = case when $4 then $5 else events end,
       description   = coalesce($6, description)
     where tenant_id = $1 and id = $2`,
    [tenant_id, id, url ?? null, events !== undefined, events ?? null, description ?? null],
  );
  return changed > 0 ? await foundWebhook(db, tenant_id, id) : missing(tenant_id, id);
}

/** Gives a webhook a new secret, which signs from now on. Throws NOT_FOUND. */
export async function rotateSecret(db: Db, tenant_id: string, id: string): Promise<string> {
  const secret = newSecret();
  const sql = "update webhooks set secret = $3 where tenant_id = $1 and id = $2";
  return (await execute(db, sql, [tenant_id, id, secret])) > 0 ? secret : missing(tenant_id, id);
}

/** Forgets a webhook and all that it was owed. Throws NOT_FOUND. */
export async function forgetWebhook(db: Db, tenant_id: string, id: string): Promise<void> {
  const deleted = await execute(db, "delete from webhooks where tenant_id = $1 and id = $2", [tenant_id, id]);
  if (deleted === 0) missing(tenant_id, id);
  await execute(db, "delete from pipeline_controls where pipeline = $1", [deliveryPipeline(id)]);
}

/** Events are owed to it again from now on. Throws NOT_FOUND. */
export async function noteEnabled(db: Db, tenant_id: string, id: string): Promise<void> {
  const sql = `
    update webhooks set disabled_at = null, disabled_because = null, failing_since = null
    where tenant_id = $1 and id = $2`;
  if ((await execute(db, sql, [tenant_id, id])) === 0) missing(tenant_id, id);
}

/** No event is owed to it from now on. Answers whether that is new: it may be disabled already, or gone. */
export async function noteDisabled(db: Db, tenant_id: string, id: string, because: string): Promise<boolean> {
  const sql = `
    update webhooks set disabled_at = now(), disabled_because = $3
    where tenant_id = $1 and id = $2 and disabled_at is null`;
  return (await execute(db, sql, [tenant_id, id, because.slice(0, 2_000)])) > 0;
}

const Failing = z.object({ failing_ms: z.coerce.number() });

/** Notes that a delivery failed. Answers for how many milliseconds all did; undefined where it is disabled, or gone. */
export async function noteFailing(db: Db, tenant_id: string, id: string): Promise<number | undefined> {
  const failing = await maybeOne(
    db,
    Failing,
    `update webhooks set failing_since = coalesce(failing_since, now())
     where tenant_id = $1 and id = $2 and disabled_at is null
     returning extract(epoch from now() - failing_since) * 1000 as failing_ms`,
    [tenant_id, id],
  );
  return failing?.failing_ms;
}

import { randomUUID } from "node:crypto";
import { type Db, type Pool, transaction } from "../../src/db.ts";
import { wakeWorkers } from "../../src/ledger/enqueue.ts";
import type { SubjectType } from "../../src/pipeline.ts";
import { type Published, publish } from "../../src/publish.ts";
import type { Routable } from "../../src/router.ts";
import { createWebhook, type NewWebhook, type WebhookWithSecret } from "../../src/store/webhooks.ts";
import { deliveryAttempt } from "../../src/webhooks/deliver.ts";
import type { Ending } from "../../src/worker/ending.ts";
import type { WorkerOptions } from "../../src/worker/worker.ts";
import type { TestDatabase } from "./database.ts";
import { runtime, startWorker } from "./runtime.ts";

export type Subject = { tenant_id: string; source_type: SubjectType; source_id: string };

/** A scene of a new tenant, unless `given` says otherwise. */
export function newSubject(given: Partial<Subject> = {}): Subject {
  return { tenant_id: randomUUID(), source_type: "scene", source_id: randomUUID(), ...given };
}

/** Subscribes a URL to all events of a tenant, unless `given` says otherwise. */
export async function subscribe(
  pool: Pool,
  tenant_id: string,
  given: Partial<NewWebhook> = {},
): Promise<WebhookWithSecret> {
  const webhook = { url: "http://127.0.0.1:9/nobody", events: null, description: "", ...given };
  return await transaction(pool, (db) => createWebhook(db, tenant_id, webhook));
}

export function eventAbout(subject: Subject, event: string, version = 1): Routable {
  return { ...subject, event, version, metadata: {} };
}

/** Publishes events about a subject, in one transaction. Nothing is routed. */
export async function tell(pool: Pool, subject: Subject, ...events: readonly string[]): Promise<Published> {
  return await transaction(pool, (db) => tellIn(db, subject, ...events));
}

/** The same, in the caller's transaction. */
export async function tellIn(db: Db, subject: Subject, ...events: readonly string[]): Promise<Published> {
  return await publish(
    db,
    new Map(),
    events.map((event) => eventAbout(subject, event)),
  );
}

export const sending = { timeoutMs: 10_000, disableAfterMs: 3_600_000, toPrivate: true };

/** A worker that delivers. `ended(n)` resolves with the n-th attempt's ending. */
export function startDeliverer(
  database: TestDatabase,
  settings: Partial<typeof sending> = {},
  options: Partial<WorkerOptions> = {},
) {
  let tell = Promise.withResolvers<void>();
  const worker = startWorker(runtime(database), database, {
    pipelines: ["webhook:%"],
    attempt: deliveryAttempt({ ...sending, ...settings }),
    onEnded: () => {
      tell.resolve();
      tell = Promise.withResolvers();
    },
    ...options,
  });
  const ended = async (count: number): Promise<Ending> => {
    for (;;) {
      const end = worker.endings[count - 1];
      if (end !== undefined) return end.ending;
      await tell.promise;
    }
  };
  return Object.assign(worker, { ended });
}

/** Lets everything that waits for its next attempt be due. */
export async function retryNow(pool: Pool): Promise<void> {
  await pool.query("update pipeline_runs set run_after = now() where status = 'pending'");
  await wakeWorkers(pool);
}

/** How many deliveries a tenant is owed. */
export async function owedTo(db: Db, { tenant_id }: { readonly tenant_id: string }): Promise<number> {
  const { rows } = await db.query("select from webhook_deliveries where tenant_id = $1", [tenant_id]);
  return rows.length;
}

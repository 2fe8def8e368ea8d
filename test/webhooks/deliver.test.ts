import { randomUUID } from "node:crypto";
import { Webhook as Verifier } from "standardwebhooks";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { transaction } from "../../src/db.ts";
import { cancelRun } from "../../src/ledger/cancel.ts";
import { listRuns } from "../../src/ledger/read.ts";
import { LoreEvent } from "../../src/pipeline.ts";
import { deliveryPipeline, nextOwed } from "../../src/store/deliveries.ts";
import { eventsOf } from "../../src/store/events.ts";
import { foundWebhook } from "../../src/store/webhooks.ts";
import { commitDelivery } from "../../src/webhooks/commit.ts";
import { enableWebhook } from "../../src/webhooks/life.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { claim, only, runOf } from "../support/ledger.ts";
import { startProcess } from "../support/process.ts";
import { emptyLedger, forever, gate, runtime, startWorker } from "../support/runtime.ts";
import { type Received, startSubscriber } from "../support/subscriber.ts";
import {
  newSubject,
  owedTo,
  retryNow,
  type Subject,
  sending,
  startDeliverer,
  subscribe,
  tell,
} from "../support/webhooks.ts";

let database: TestDatabase;

beforeAll(async () => {
  database = await testDatabase();
});
afterEach(() => emptyLedger(database));

const names = (received: readonly Received[]) => received.map(({ event }) => event.event);

/** Tells of events and delivers until nothing is left to do. Answers how the attempts ended. */
async function delivered(subject: Subject, ...events: readonly string[]) {
  await tell(database.pool, subject, ...events);
  await using worker = startDeliverer(database);
  await worker.untilDone();
  return worker.endings.map(({ ending }) => ending);
}

describe("a delivery", () => {
  test("is the event as the contract has it, with its id, signed as Standard Webhooks says", async () => {
    const subject = newSubject();
    const subscriber = await startSubscriber();
    const { secret } = await subscribe(database.pool, subject.tenant_id, subscriber);

    expect(await delivered(subject, "entity.ingested")).toEqual([{ kind: "delivered", events: 1 }]);

    const { headers, body, event } = only(subscriber.received);
    const { run_id: _, ...stored } = only(await eventsOf(database.pool, subject));
    expect(event).toEqual(stored);
    expect(LoreEvent.parse(event)).toMatchObject({ ...subject, event: "entity.ingested", version: 1 });
    expect(headers["content-type"]).toBe("application/json");
    expect(new Verifier(secret).verify(body, headers)).toEqual(event);
    const forged = body.replace("entity.ingested", "entity.deleted!");
    expect(() => new Verifier(secret).verify(forged, headers)).toThrow("No matching signature");
  });

  test("is of each event of a subject in order, in one run", async () => {
    const subject = newSubject();
    const subscriber = await startSubscriber();
    await subscribe(database.pool, subject.tenant_id, subscriber);

    const endings = await delivered(subject, "entity.changed", "entity.ingested", "entity.enriched");

    expect(endings).toEqual([{ kind: "delivered", events: 3 }]);
    expect(names(subscriber.received)).toEqual(["entity.changed", "entity.ingested", "entity.enriched"]);
    expect(await owedTo(database.pool, subject)).toBe(0);
  });

  test("is tried again under the same id after a failure, and those after it wait", async () => {
    const subject = newSubject();
    const subscriber = await startSubscriber(() => 500);
    const { id } = await subscribe(database.pool, subject.tenant_id, subscriber);
    await tell(database.pool, subject, "one", "two");
    await using worker = startDeliverer(database);

    expect(await worker.ended(1)).toMatchObject({ kind: "retry", counts: true });
    expect(names(subscriber.received)).toEqual(["one"]);
    expect(only(await listRuns(database.pool, subject))).toMatchObject({
      status: "pending",
      attempt: 1,
      error_code: "WEBHOOK_FAILED",
      error_message: "the subscriber answered 500",
    });
    const failing = await foundWebhook(database.pool, subject.tenant_id, id);
    expect(failing).toMatchObject({ owed: 2, last_error: "the subscriber answered 500" });
    expect(failing.failing_since).toBeInstanceOf(Date);

    subscriber.answer(() => 200);
    await retryNow(database.pool);
    expect(await worker.ended(2)).toEqual({ kind: "delivered", events: 2 });
    expect(names(subscriber.received)).toEqual(["one", "one", "two"]);
    const [first, second, third] = subscriber.received.map(({ headers }) => headers["webhook-id"]);
    expect(first).toBe(second);
    expect(third).not.toBe(first);
    expect(await foundWebhook(database.pool, subject.tenant_id, id)).toMatchObject({
      owed: 0,
      failing_since: null,
      last_error: null,
    });
  });

  test("comes in order for each entity, though many are told at once and every third fails", async () => {
    const { tenant_id } = newSubject();
    let calls = 0;
    const subscriber = await startSubscriber(() => (++calls % 3 === 0 ? 503 : 204));
    await subscribe(database.pool, tenant_id, subscriber);
    const subjects = Array.from({ length: 5 }, () => newSubject({ tenant_id }));
    await using worker = startDeliverer(database);

    const tellingAll = subjects.map(async (subject) => {
      for (let n = 0; n < 6; n++) await tell(database.pool, subject, `event.${n}`);
    });
    await Promise.all(tellingAll);
    for (let ends = 1; (await owedTo(database.pool, { tenant_id })) > 0; ends++) {
      await retryNow(database.pool);
      await worker.ended(ends);
    }

    for (const { source_id } of subjects) {
      const taken = new Set(
        subscriber.received
          .filter(({ event }) => event.source_id === source_id)
          .map(({ event }) => event.event),
      );
      expect([...taken]).toEqual(Array.from({ length: 6 }, (_, n) => `event.${n}`));
    }
  });

  test("is repeated at most once, and none is lost, when its worker is killed in the middle", async () => {
    const subject = newSubject();
    const standing = gate();
    let calls = 0;
    const subscriber = await startSubscriber(async () => {
      if (++calls !== 2) return 204;
      await standing.pass(); // it was taken, but the worker never learns of it
      return 204;
    });
    await subscribe(database.pool, subject.tenant_id, subscriber);
    await tell(database.pool, subject, "one", "two", "three");
    const doomed = startProcess("killable-deliverer.ts", [database.url]);
    await standing.reached;
    await doomed.kill("SIGKILL");
    standing.open();

    await using worker = startDeliverer(database);
    await worker.untilDone();

    expect(names(subscriber.received)).toEqual(["one", "two", "two", "three"]);
    const [, second, third] = subscriber.received.map(({ headers }) => headers["webhook-id"]);
    expect(second).toBe(third);
    expect(await owedTo(database.pool, subject)).toBe(0);
  });

  test("is given back without cost when its worker is stopped, and goes on with the next", async () => {
    const subject = newSubject();
    const subscriber = await startSubscriber(() => forever());
    await subscribe(database.pool, subject.tenant_id, subscriber);
    await tell(database.pool, subject, "one");
    {
      await using stopped = startDeliverer(database);
      await subscriber.heard(1);
      await stopped.stop();
      expect(stopped.endings.map(({ ending }) => ending)).toEqual([{ kind: "released" }]);
    }
    expect(only(await listRuns(database.pool, subject))).toMatchObject({ status: "pending", attempt: 0 });

    subscriber.answer(() => 204);
    await using worker = startDeliverer(database);
    await worker.untilDone();

    expect(names(subscriber.received)).toEqual(["one", "one"]);
  });

  test("can be cancelled while the subscriber thinks; what it is owed goes with its next event", async () => {
    const subject = newSubject();
    const subscriber = await startSubscriber(() => forever());
    await subscribe(database.pool, subject.tenant_id, subscriber);
    await tell(database.pool, subject, "one");
    await using worker = startDeliverer(database);
    await subscriber.heard(1);
    const [run] = await listRuns(database.pool, subject);

    await cancelRun(database.pool, subject.tenant_id, run?.id ?? "");
    expect(await worker.ended(1)).toMatchObject({ kind: "cancelled" });
    subscriber.answer(() => 204);
    await tell(database.pool, subject, "two");
    await worker.ended(2);

    expect(names(subscriber.received)).toEqual(["one", "one", "two"]);
  });

  test("commits nothing once another worker has its lease", async () => {
    const subject = newSubject();
    const { id } = await subscribe(database.pool, subject.tenant_id);
    await tell(database.pool, subject, "one");
    const run = only(await claim(database.pool, deliveryPipeline(id)));
    const lost = { ...run, lease_token: randomUUID() };
    const context = runtime(database);

    const ends = [
      { kind: "delivered", events: 1 },
      { kind: "cancelled", reason: "a test" },
    ] as const;
    for (const ending of ends) {
      expect(await commitDelivery(context, sending, lost, ending)).toEqual({ ending: { kind: "lost" } });
    }

    expect(await runOf(database.pool, run)).toMatchObject({
      status: "running",
      lease_token: run.lease_token,
    });
  });

  test("that its run's turn was too short for is made by the next run", async () => {
    const subject = newSubject();
    const { id } = await subscribe(database.pool, subject.tenant_id);
    await tell(database.pool, subject, "one");
    const run = only(await claim(database.pool, deliveryPipeline(id)));

    await commitDelivery(runtime(database), sending, run, { kind: "delivered", events: 7 });

    expect(await runOf(database.pool, run)).toMatchObject({
      status: "success",
      outcome: "completed",
      model: null,
    });
    expect(only(await claim(database.pool, deliveryPipeline(id)))).toMatchObject(subject);
  });
});

describe("a slow subscriber", () => {
  test("holds two slots, and delays no other", async () => {
    const [slow, quick] = [newSubject(), newSubject()];
    const [sleeper, waker] = [await startSubscriber(() => forever()), await startSubscriber()];
    await subscribe(database.pool, slow.tenant_id, sleeper);
    await subscribe(database.pool, quick.tenant_id, waker);
    for (let n = 0; n < 5; n++) await tell(database.pool, { ...slow, source_id: randomUUID() }, "one");
    await using _ = startDeliverer(database, {}, { concurrency: 3 });
    await sleeper.heard(2);

    await tell(database.pool, quick, "one", "two", "three");
    await waker.heard(3);

    expect(names(waker.received)).toEqual(["one", "two", "three"]);
    expect(sleeper.received).toHaveLength(2);
  });

  test("is given up after the time-out", async () => {
    const subject = newSubject();
    const subscriber = await startSubscriber(() => forever());
    await subscribe(database.pool, subject.tenant_id, subscriber);
    await tell(database.pool, subject, "one");
    await using worker = startDeliverer(database, { timeoutMs: 50 });

    expect(await worker.ended(1)).toMatchObject({
      kind: "retry",
      error: { code: "WEBHOOK_FAILED", message: "the subscriber did not answer within 50 ms" },
    });
  });
});

describe("a subscriber that asks for time", () => {
  const waitOf = async (
    answer: number,
    retryAfter: string,
  ): Promise<{ seconds: number; attempt: number }> => {
    const subject = newSubject();
    const subscriber = await startSubscriber((_, response) => {
      response.setHeader("retry-after", retryAfter);
      return answer;
    });
    await subscribe(database.pool, subject.tenant_id, subscriber);
    await tell(database.pool, subject, "one");
    await using worker = startDeliverer(database);
    await worker.ended(1);
    const { rows } = await database.pool.query(
      "select extract(epoch from run_after - now())::float8 as seconds, attempt from pipeline_runs where tenant_id = $1",
      [subject.tenant_id],
    );
    return only(rows);
  };

  test("gets it, and it costs no attempt", async () => {
    const { seconds, attempt } = await waitOf(429, "120");

    expect(seconds).toBeGreaterThan(100);
    expect(seconds).toBeLessThanOrEqual(120);
    expect(attempt).toBe(0);
  });

  test("may name a moment", async () => {
    const { seconds } = await waitOf(503, new Date(Date.now() + 600_000).toUTCString());

    expect(seconds).toBeGreaterThan(500);
    expect(seconds).toBeLessThanOrEqual(600);
  });

  test("gets neither none nor a year", async () => {
    expect((await waitOf(503, "0")).seconds).toBeGreaterThan(3);
    expect((await waitOf(429, "31536000")).seconds).toBeLessThanOrEqual(6 * 3_600);
  });

  test("gets what all get where it names none that can be read", async () => {
    const { seconds, attempt } = await waitOf(429, "soon");

    expect(seconds).toBeLessThanOrEqual(5);
    expect(attempt).toBe(1);
  });
});

describe("a webhook is disabled", () => {
  test("at once when its subscriber says that it is gone; others are told", async () => {
    const subject = newSubject();
    const [gone, other] = [await startSubscriber(() => 410), await startSubscriber()];
    const { id } = await subscribe(database.pool, subject.tenant_id, gone);
    await subscribe(database.pool, subject.tenant_id, { ...other, events: ["webhook.disabled"] });
    await tell(database.pool, subject, "one");
    await using worker = startDeliverer(database);
    await worker.ended(1);
    await other.heard(1);

    const because = "the subscriber answered 410: it is gone";
    expect(other.received[0]?.event).toMatchObject({
      event: "webhook.disabled",
      tenant_id: subject.tenant_id,
      source_type: "tenant",
      source_id: subject.tenant_id,
      metadata: { webhook_id: id, because },
    });
    expect(await foundWebhook(database.pool, subject.tenant_id, id)).toMatchObject({
      disabled_because: because,
      owed: 1,
    });
    expect(gone.received).toHaveLength(1);
  });

  test("when all failed for too long; its runs are cancelled, what it was owed is kept", async () => {
    const subject = newSubject();
    const subscriber = await startSubscriber(() => 500);
    const { id } = await subscribe(database.pool, subject.tenant_id, subscriber);
    await tell(database.pool, subject, "one");
    await using worker = startDeliverer(database);
    await worker.ended(1);
    await database.pool.query(
      "update webhooks set failing_since = now() - interval '61 minutes' where tenant_id = $1",
      [subject.tenant_id],
    );
    const later = { ...subject, source_id: randomUUID() };
    await tell(database.pool, later, "two");
    await worker.ended(2);

    const webhook = await foundWebhook(database.pool, subject.tenant_id, id);
    expect(webhook.disabled_because).toBe(
      "every delivery failed for 1 hours; the last time, the subscriber answered 500",
    );
    expect(webhook.owed).toBe(2);
    const runs = await listRuns(database.pool, subject);
    expect(runs.map(({ status }) => status)).toEqual(["cancelled"]);
  });

  test("never, while one delivery in between succeeds", async () => {
    const [bad, good] = [newSubject(), newSubject()];
    good.tenant_id = bad.tenant_id;
    const subscriber = await startSubscriber(({ event }) => (event.event === "bad" ? 500 : 204));
    const { id } = await subscribe(database.pool, bad.tenant_id, subscriber);
    await using worker = startDeliverer(database);
    await tell(database.pool, bad, "bad");
    await worker.ended(1);
    await tell(database.pool, good, "good");
    await worker.ended(2);

    expect((await foundWebhook(database.pool, bad.tenant_id, id)).failing_since).toBeNull();
  });

  test("until it is enabled: then it gets what it was owed, but nothing that happened meanwhile", async () => {
    const subject = newSubject();
    const subscriber = await startSubscriber(() => 410);
    const { id } = await subscribe(database.pool, subject.tenant_id, subscriber);
    await tell(database.pool, subject, "before");
    await using worker = startDeliverer(database);
    await worker.ended(1);
    await tell(database.pool, subject, "meanwhile");
    subscriber.answer(() => 204);

    const enabled = await enableWebhook(database.pool, subject.tenant_id, id);
    expect(enabled).toMatchObject({ disabled_at: null, disabled_because: null, failing_since: null });
    await tell(database.pool, subject, "after");
    await worker.untilDone();

    expect(names(subscriber.received)).toEqual(["before", "before", "after"]);
  });

  test("for longer than thirty days: what it was owed is forgotten", async () => {
    const subject = newSubject();
    const { id } = await subscribe(database.pool, subject.tenant_id);
    await tell(database.pool, subject, "old", "new");
    await database.pool.query(
      "update events set occurred_at = now() - interval '31 days' where tenant_id = $1 and event = 'old'",
      [subject.tenant_id],
    );

    await enableWebhook(database.pool, subject.tenant_id, id);

    const owed = await nextOwed(database.pool, { ...subject, webhook_id: id });
    expect(owed?.event.event).toBe("new");
    expect(await owedTo(database.pool, subject)).toBe(1);
  });
});

test("a worker of graphs neither takes deliveries nor waits for them", async () => {
  const subject = newSubject();
  await subscribe(database.pool, subject.tenant_id);
  await tell(database.pool, subject, "entity.changed");
  await using worker = startWorker(runtime(database), database);

  await worker.untilDone();

  expect(only(await listRuns(database.pool, subject))).toMatchObject({ status: "pending", started_at: null });
});

test("a subscriber that comes back gets at once all that waited for it", async () => {
  const { tenant_id } = newSubject();
  const subscriber = await startSubscriber(() => 500);
  await subscribe(database.pool, tenant_id, subscriber);
  for (let n = 0; n < 3; n++) await tell(database.pool, newSubject({ tenant_id }), "missed");
  await using worker = startDeliverer(database);
  await worker.ended(3);
  subscriber.answer(() => 204);
  await transaction(database.pool, async (db) => {
    await db.query("update webhooks set failing_since = now() - interval '5 minutes' where tenant_id = $1", [
      tenant_id,
    ]);
    await db.query("update pipeline_runs set run_after = now() + interval '6 hours' where tenant_id = $1", [
      tenant_id,
    ]);
  });

  await tell(database.pool, newSubject({ tenant_id }), "back");
  await subscriber.heard(7);

  expect(names(subscriber.received).slice(3).toSorted()).toEqual(["back", "missed", "missed", "missed"]);
});

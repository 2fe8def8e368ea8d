import { randomUUID } from "node:crypto";
import { afterEach, beforeAll, expect, test } from "vitest";
import { transaction } from "../../src/db.ts";
import { eventsOf } from "../../src/store/events.ts";
import { noteDisabled } from "../../src/store/webhooks.ts";
import { redeliver } from "../../src/webhooks/redeliver.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { only } from "../support/ledger.ts";
import { emptyLedger } from "../support/runtime.ts";
import { startSubscriber } from "../support/subscriber.ts";
import { newSubject, owedTo, startDeliverer, subscribe, tell } from "../support/webhooks.ts";

let database: TestDatabase;

beforeAll(async () => {
  database = await testDatabase();
});
afterEach(() => emptyLedger(database));

/** An event that was told before anybody subscribed. */
async function earlierEvent() {
  const subject = newSubject();
  await tell(database.pool, subject, "entity.ingested");
  const { id } = only(await eventsOf(database.pool, subject));
  return { subject, id, tenant_id: subject.tenant_id };
}

const owing = (...given: [tenant_id: string, event_id: number, webhook_id?: string]) =>
  transaction(database.pool, (db) => redeliver(db, ...given));

test("delivers an event again, under the id that it had", async () => {
  const { tenant_id, id } = await earlierEvent();
  const subscriber = await startSubscriber();
  await subscribe(database.pool, tenant_id, subscriber);
  await using worker = startDeliverer(database);

  for (const times of [1, 2]) {
    expect(await owing(tenant_id, id)).toBe(1);
    await worker.ended(times);
  }

  const [first, second] = subscriber.received;
  expect(first?.event).toMatchObject({ id, event: "entity.ingested" });
  expect(second?.headers["webhook-id"]).toBe(first?.headers["webhook-id"]);
});

test("goes to those that want the event; by its name, to any", async () => {
  const { tenant_id, id } = await earlierEvent();
  const other = await subscribe(database.pool, tenant_id, { events: ["entity.deleted"] });

  expect(await owing(tenant_id, id)).toBe(0);
  expect(await owing(tenant_id, id, other.id)).toBe(1);
  expect(await owedTo(database.pool, { tenant_id })).toBe(1);
});

test("owes what is owed already no second time", async () => {
  const { tenant_id, id } = await earlierEvent();
  await subscribe(database.pool, tenant_id);

  await owing(tenant_id, id);
  await owing(tenant_id, id);

  expect(await owedTo(database.pool, { tenant_id })).toBe(1);
});

test("knows only the tenant's own events and enabled webhooks", async () => {
  const { tenant_id, id } = await earlierEvent();
  const foreign = await subscribe(database.pool, randomUUID());
  const disabled = await subscribe(database.pool, tenant_id);
  await noteDisabled(database.pool, tenant_id, disabled.id, "a test");

  await expect(owing(tenant_id, id + 1)).rejects.toMatchObject({ code: "NOT_FOUND" });
  await expect(owing(foreign.tenant_id, id)).rejects.toMatchObject({ code: "NOT_FOUND" });
  await expect(owing(tenant_id, id, foreign.id)).rejects.toMatchObject({ code: "NOT_FOUND" });
  await expect(owing(tenant_id, id, disabled.id)).rejects.toMatchObject({ code: "INPUT_INVALID" });
});

import { randomUUID } from "node:crypto";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { transaction } from "../../src/db.ts";
import { listRuns } from "../../src/ledger/read.ts";
import { publish } from "../../src/publish.ts";
import { deliveryPipeline, nextOwed, owedRuns, settleDelivery } from "../../src/store/deliveries.ts";
import { forgetWebhook, noteDisabled } from "../../src/store/webhooks.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { claim } from "../support/ledger.ts";
import { emptyLedger } from "../support/runtime.ts";
import { eventAbout, newSubject, owedTo, subscribe, tell, tellIn } from "../support/webhooks.ts";

let database: TestDatabase;

beforeAll(async () => {
  database = await testDatabase();
});
afterEach(() => emptyLedger(database));

/** The names of the events that a webhook is owed about a subject, in the order of their delivery. */
async function owedNames(webhook_id: string, subject: ReturnType<typeof newSubject>): Promise<string[]> {
  const names: string[] = [];
  await transaction(database.pool, async (db) => {
    const key = { ...subject, webhook_id };
    for (let owed = await nextOwed(db, key); owed; owed = await nextOwed(db, key)) {
      names.push(owed.event.event);
      await settleDelivery(db, key, owed.event.id);
    }
  });
  return names;
}

describe("an event is owed", () => {
  test("to every webhook of its tenant that wants it, and to no other", async () => {
    const { pool } = database;
    const subject = newSubject();
    const all = await subscribe(pool, subject.tenant_id);
    const some = await subscribe(pool, subject.tenant_id, { events: ["entity.ingested"] });
    const foreign = await subscribe(pool, randomUUID());

    await tell(pool, subject, "entity.changed", "entity.ingested");

    expect(await owedNames(all.id, subject)).toEqual(["entity.changed", "entity.ingested"]);
    expect(await owedNames(some.id, subject)).toEqual(["entity.ingested"]);
    expect(await owedTo(pool, foreign)).toBe(0);
  });

  test("not to a disabled webhook", async () => {
    const { pool } = database;
    const subject = newSubject();
    const { id } = await subscribe(pool, subject.tenant_id);
    await noteDisabled(pool, subject.tenant_id, id, "a test");

    await tell(pool, subject, "entity.changed");

    expect(await owedTo(pool, subject)).toBe(0);
    expect(await listRuns(pool, subject)).toEqual([]);
  });

  test("together with its run, or not at all", async () => {
    const { pool } = database;
    const subject = newSubject();
    await subscribe(pool, subject.tenant_id);

    const failing = transaction(pool, async (db) => {
      await tellIn(db, subject, "entity.changed");
      throw new Error("after all, no");
    });

    await expect(failing).rejects.toThrow("after all, no");
    expect(await owedTo(pool, subject)).toBe(0);
    expect(await listRuns(pool, subject)).toEqual([]);
  });

  test("although an event with a greater id was delivered before it committed", async () => {
    const { pool } = database;
    const subject = newSubject();
    const { id } = await subscribe(pool, subject.tenant_id);
    const [early, late] = [await pool.connect(), await pool.connect()];
    try {
      await early.query("begin");
      await tellIn(early, subject, "first.written");
      const other = { ...subject, source_id: randomUUID() };
      await late.query("begin");
      await tellIn(late, other, "first.committed");
      await late.query("commit");
      expect(await owedNames(id, other)).toEqual(["first.committed"]);

      await early.query("commit");
    } finally {
      early.release();
      late.release();
    }

    expect(await owedNames(id, subject)).toEqual(["first.written"]);
  });

  test("to those that are left, when a webhook is deleted meanwhile", async () => {
    const { pool } = database;
    const subject = newSubject();
    const doomed = await subscribe(pool, subject.tenant_id);
    const kept = await subscribe(pool, subject.tenant_id);
    const deleting = await pool.connect();
    let told: Promise<unknown>;
    try {
      await deleting.query("begin");
      await forgetWebhook(deleting, subject.tenant_id, doomed.id);
      told = tell(pool, subject, "entity.changed");
      await untilSomebodyWaits();
      await deleting.query("commit");
    } finally {
      deleting.release();
    }
    await told;

    expect(await owedNames(kept.id, subject)).toEqual(["entity.changed"]);
    expect(await owedTo(pool, subject)).toBe(0);
  });
});

/** Resolves once a statement waits for a lock in this database. */
async function untilSomebodyWaits(): Promise<void> {
  const sql =
    "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' limit 1";
  while ((await database.pool.query(sql)).rowCount === 0);
}

describe("the runs that deliver", () => {
  test("are one for each webhook and subject, whatever happens to it", async () => {
    const { pool } = database;
    const subject = newSubject();
    const { id } = await subscribe(pool, subject.tenant_id);

    await tell(pool, subject, "entity.changed", "entity.ingested");
    await tell(pool, subject, "entity.enriched");
    await tell(pool, { ...subject, source_id: randomUUID() }, "entity.changed");
    await tell(pool, { ...subject, source_type: "tenant", source_id: subject.tenant_id }, "reingest.paused");

    const runs = await listRuns(pool, { tenant_id: subject.tenant_id, pipeline: deliveryPipeline(id) });
    expect(runs.map(({ status, source_type }) => `${status} ${source_type}`).toSorted()).toEqual([
      "pending scene",
      "pending scene",
      "pending tenant",
    ]);
  });

  test("are no part of the reingest whose events they deliver", async () => {
    const { pool } = database;
    const subject = newSubject();
    await subscribe(pool, subject.tenant_id);
    const cause = { id: randomUUID(), reingest_id: randomUUID(), priority: -100, force: true };

    await transaction(pool, (db) => publish(db, new Map(), [eventAbout(subject, "entity.ingested")], cause));

    expect(await listRuns(pool, subject)).toMatchObject([{ reingest_id: null, priority: 0, force: false }]);
  });

  test("are at most two at a time for a webhook", async () => {
    const { pool } = database;
    const { tenant_id } = newSubject();
    const { id } = await subscribe(pool, tenant_id);
    for (let n = 0; n < 5; n++) await tell(pool, newSubject({ tenant_id }), "entity.changed");

    expect(await claim(pool, deliveryPipeline(id))).toHaveLength(2);
    expect(await claim(pool, deliveryPipeline(id))).toHaveLength(0);
  });

  test("wait for the one that delivers to the same webhook about the same subject", async () => {
    const { pool } = database;
    const subject = newSubject();
    const { id } = await subscribe(pool, subject.tenant_id);
    await tell(pool, subject, "entity.changed");
    const [running] = await claim(pool, deliveryPipeline(id));
    await tell(pool, subject, "entity.ingested");

    expect(running).toMatchObject(subject);
    expect(await claim(pool, deliveryPipeline(id))).toEqual([]);
  });

  test("are counted beside an answer's own runs, not among them", async () => {
    const { pool } = database;
    const subject = newSubject();
    await subscribe(pool, subject.tenant_id);

    expect(await tell(pool, subject, "entity.changed")).toEqual({ events: 1, runs: 0 });
  });

  test("are found by what is owed, a thousand subjects at a time", async () => {
    const { pool } = database;
    const { tenant_id } = newSubject();
    const { id: webhook_id } = await subscribe(pool, tenant_id);
    const events = Array.from({ length: 1_200 }, () =>
      eventAbout(newSubject({ tenant_id }), "entity.changed"),
    );
    await transaction(pool, (db) => publish(db, new Map(), events));

    const first = await owedRuns(pool, { tenant_id, webhook_id });
    const rest = await owedRuns(pool, { tenant_id, webhook_id, after: first.at(-1) });

    const found = [...first, ...rest].map(({ source_id }) => source_id);
    expect([first.length, rest.length]).toEqual([1_000, 200]);
    expect(found.toSorted()).toEqual(events.map(({ source_id }) => source_id).toSorted());
  });
});

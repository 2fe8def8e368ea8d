import { randomInt, randomUUID } from "node:crypto";
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type Db, transaction } from "../../src/db.ts";
import {
  appendEvents,
  eventsAfter,
  eventsPast,
  forgetTransactionIds,
  type NewEvent,
  newestPosition,
  positionOf,
} from "../../src/store/events.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { gate } from "../support/runtime.ts";
import { eventsSettled } from "../support/settled.ts";

let database: TestDatabase;
let tenant_id: string;
beforeAll(async () => {
  database = await testDatabase();
});
beforeEach(() => {
  tenant_id = randomUUID();
});

function noticed(event: string, given: Partial<NewEvent> = {}): NewEvent {
  return {
    tenant_id,
    event,
    source_type: "scene",
    source_id: randomUUID(),
    version: 1,
    metadata: {},
    ...given,
  };
}

async function append(db: Db, ...events: readonly string[]): Promise<readonly number[]> {
  return await appendEvents(
    db,
    events.map((event) => noticed(event)),
  );
}

/** A transaction that has appended an event, and commits when it is told to. */
async function writing(event: string): Promise<() => Promise<void>> {
  const { pass, reached, open } = gate();
  const done = transaction(database.pool, async (db) => {
    await append(db, event);
    await pass();
  });
  await reached;
  return async () => {
    open();
    await done;
  };
}

const settled = () => eventsSettled(database.pool, tenant_id);

async function read(after?: number, limit = 500) {
  const { items } = await eventsAfter(database.pool, tenant_id, after, {}, limit);
  return items;
}

async function names(after?: number) {
  return (await read(after)).map(({ event }) => event);
}

describe("reading on from an event", () => {
  test("tells what committed late and bears a lower id, and what is newer only after it", async () => {
    const [first = 0] = await append(database.pool, "first");
    const commitEarly = await writing("begun early");
    const commitLate = await writing("begun late");
    await commitLate();
    expect(await names(first)).toEqual([]);

    await commitEarly();
    await settled();
    expect(await names(first)).toEqual(["begun early", "begun late"]);
  });

  test("tells what a transaction that began first wrote last, though its id is higher", async () => {
    const { pass, reached, open } = gate();
    const long = transaction(database.pool, async (db) => {
      await append(db, "long 1");
      await pass();
      await append(db, "long 2");
    });
    await reached;
    await append(database.pool, "short");
    open();
    await long;
    await settled();

    const [one, two, three] = await read();
    expect([one?.event, two?.event, three?.event]).toEqual(["long 1", "long 2", "short"]);
    expect(two?.id).toBeGreaterThan(three?.id ?? 0);
    expect(await names(two?.id)).toEqual(["short"]);
    expect(await names(three?.id)).toEqual([]);
  });

  test("gets every event once while many write at the same time", async () => {
    const written: number[] = [];
    const writer = async (nth: number) => {
      for (let round = 0; round < 15; round++) {
        const ids = await transaction(database.pool, async (db) => {
          const before = await append(db, `${nth}.${round}`);
          await db.query("select pg_sleep($1)", [randomInt(8) / 1_000]);
          return [...before, ...(await append(db, `${nth}.${round} again`))];
        });
        written.push(...ids);
      }
    };
    const seen: number[] = [];
    const writers = Promise.all(Array.from({ length: 6 }, (_, nth) => writer(nth)));
    const readOn = async () => {
      const events = await read(seen.at(-1), 7);
      seen.push(...events.map(({ id }) => id));
    };
    const reading = (async () => {
      while (seen.length < 180) await readOn();
    })();
    await Promise.all([writers, reading]);
    await readOn();

    expect(seen).toHaveLength(180);
    expect(new Set(seen)).toEqual(new Set(written));
    expect(seen).toEqual((await read()).map(({ id }) => id));
  });

  test("goes on after the one with the next lower id where the event is gone", async () => {
    const [one = 0, two = 0, three = 0] = await append(database.pool, "one", "two", "three");
    await settled();
    await database.pool.query("delete from events where tenant_id = $1 and id = $2", [tenant_id, two]);
    expect(await names(two)).toEqual(["three"]);
    expect(await names(one - 1)).toEqual(["one", "three"]);
    expect(await names(three + 1_000_000_000)).toEqual([]);
    expect(await names(0)).toEqual(["one", "three"]);
  });

  test("knows nothing of another tenant's events, not even by their ids", async () => {
    await append(database.pool, "mine");
    const [other = 0] = await appendEvents(database.pool, [noticed("theirs", { tenant_id: randomUUID() })]);
    await append(database.pool, "mine, later");
    await settled();
    expect(await names()).toEqual(["mine", "mine, later"]);
    expect(await names(other)).toEqual(["mine, later"]);
  });

  test("from the newest position tells what is still being written, and nothing older", async () => {
    await append(database.pool, "old");
    await settled();
    const commit = await writing("under way");
    const newest = await newestPosition(database.pool, tenant_id);
    await append(database.pool, "new");
    await commit();
    await settled();

    const events = await eventsPast(database.pool, tenant_id, newest, 100);
    expect(events.map(({ event }) => event)).toEqual(["under way", "new"]);
    expect(await newestPosition(database.pool, tenant_id)).toEqual(
      await positionOf(database.pool, tenant_id, events.at(-1)?.id ?? 0),
    );
  });
});

describe("a page of events", () => {
  test("names where the next begins, in either order, and none at the end", async () => {
    await append(database.pool, "a", "b", "c");
    await settled();
    for (const [order, expected] of [
      ["asc", ["a b", "c"]],
      ["desc", ["c b", "a"]],
    ] as const) {
      const pages: string[] = [];
      let after: number | undefined;
      do {
        const page = await eventsAfter(database.pool, tenant_id, after, {}, 2, order);
        pages.push(page.items.map(({ event }) => event).join(" "));
        after = page.next;
      } while (after !== undefined);
      expect(pages).toEqual(expected);
    }
  });

  test("holds only what matches: a name, a type, an entity", async () => {
    const source_id = randomUUID();
    await appendEvents(database.pool, [
      noticed("entity.changed", { source_id }),
      noticed("entity.ingested", { source_id }),
      noticed("entity.changed", { source_type: "character" }),
      noticed("reingest.requested", { source_type: "tenant", source_id: tenant_id }),
    ]);
    await settled();
    const found = async (filter: Parameters<typeof eventsAfter>[3]) =>
      (await eventsAfter(database.pool, tenant_id, undefined, filter, 10)).items.map(
        ({ event, source_type }) => `${event} ${source_type}`,
      );
    expect(await found({ event: "entity.changed" })).toEqual([
      "entity.changed scene",
      "entity.changed character",
    ]);
    expect(await found({ source_type: "tenant" })).toEqual(["reingest.requested tenant"]);
    expect(await found({ source_id })).toEqual(["entity.changed scene", "entity.ingested scene"]);
    expect(await found({ source_id, event: "entity.ingested" })).toEqual(["entity.ingested scene"]);
    expect(await found({ source_id, source_type: "story" })).toEqual([]);
    expect(await found({ event: "entity.enriched" })).toEqual([]);
  });

  test("looks at so many events and no more, and goes on from there", async () => {
    await database.pool.query(
      `insert into events (tenant_id, event, source_type, source_id, version)
       select $1, case when n in (1, 20001, 45000) then 'rare' else 'common' end, 'scene', gen_random_uuid(), 1
       from generate_series(1, 45000) n`,
      [tenant_id],
    );
    await settled();
    const pages: number[] = [];
    let after: number | undefined;
    do {
      const page = await eventsAfter(database.pool, tenant_id, after, { event: "rare" }, 10);
      pages.push(page.items.length);
      after = page.next;
    } while (after !== undefined);
    expect(pages).toEqual([1, 1, 1]);
  });
});

describe("a copy in another cluster", () => {
  test("is read again, in the same order and by the same ids, once its transaction ids are forgotten", async () => {
    expect(await forgetTransactionIds(database.pool)).toBe(0);
    const commitEarly = await writing("begun early");
    await append(database.pool, "begun late");
    await commitEarly();
    await settled();
    const before = await read();
    await database.pool.query("update events set transaction_id = transaction_id + 1000000000000");
    expect(await read()).toEqual([]);

    expect(await forgetTransactionIds(database.pool)).toBeGreaterThanOrEqual(2);
    expect(await read()).toEqual(before);
    expect(await names(before[0]?.id)).toEqual(["begun late"]);

    await append(database.pool, "new here");
    await settled();
    expect(await names(before[1]?.id)).toEqual(["new here"]);
    expect(await forgetTransactionIds(database.pool)).toBe(0);
  });
});

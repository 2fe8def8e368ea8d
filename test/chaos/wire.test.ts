import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { transaction } from "../../src/db.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { type Mortal, mortal } from "./mortal.ts";
import type { Boundary } from "./wire.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
  await database.pool.query("create table notes (note text not null)");
});
beforeEach(async () => {
  await database.pool.query("truncate notes");
});

async function notes(): Promise<readonly string[]> {
  const { rows } = await database.pool.query("select note from notes order by note");
  return rows.map(({ note }) => note);
}

const insert = "insert into notes values ($1)";

/** Two inserts in one transaction, of four statements. */
async function noteTwice({ pool }: Mortal): Promise<void> {
  await transaction(pool, async (db) => {
    await db.query(insert, ["one"]);
    await db.query(insert, ["two"]);
  });
}

/** Lets a process die in `work`, and tells whether that ever came to its end. */
async function dying(boundary: Boundary, work: (process: Mortal) => Promise<unknown>): Promise<boolean> {
  const process = await mortal(database, boundary);
  let ended = false;
  const end = () => {
    ended = true;
  };
  void work(process).then(end, end);
  await process.wire.died;
  await process.wire.mourned();
  return ended;
}

test("an undisturbed process does all that it does, and its statements are counted", async () => {
  const process = await mortal(database);
  await noteTwice(process);

  expect(await notes()).toEqual(["one", "two"]);
  expect(process.wire.sent).toEqual([
    { text: "begin", committed: false },
    { text: insert, committed: false },
    { text: insert, committed: false },
    { text: "commit", committed: true },
  ]);
});

test.each([
  [{ kind: "before", nth: 1 }, []],
  [{ kind: "before", nth: 2 }, []],
  [{ kind: "before", nth: 3 }, []],
  [{ kind: "before", nth: 4 }, []],
  [{ kind: "unanswered", nth: 1 }, []],
  [{ kind: "unanswered", nth: 2 }, []],
  [{ kind: "unanswered", nth: 3 }, []],
  [{ kind: "unanswered", nth: 4 }, ["one", "two"]],
] as const)("of a transaction of four statements that dies %o is left %o", async (boundary, left) => {
  expect(await dying(boundary, noteTwice)).toBe(false);
  expect(await notes()).toEqual(left);
});

test("what was committed before the death stays", async () => {
  await dying({ kind: "before", nth: 5 }, async (process) => {
    await noteTwice(process);
    await process.pool.query(insert, ["three"]);
  });

  expect(await notes()).toEqual(["one", "two"]);
});

test("a statement outside a transaction was done where only its answer is lost, and was not where it was not sent", async () => {
  const note = ({ pool }: Mortal) => pool.query(insert, ["one"]);
  await dying({ kind: "before", nth: 1 }, note);
  const unsent = await notes();
  await dying({ kind: "unanswered", nth: 1 }, note);

  expect(unsent).toEqual([]);
  expect(await notes()).toEqual(["one"]);
});

test("all connections die at once, with their locks and what they had not committed", async () => {
  await dying({ kind: "before", nth: 6 }, async ({ pool }) => {
    const [one, other] = [await pool.connect(), await pool.connect()];
    for (const db of [one, other]) await db.query("begin");
    for (const db of [one, other]) await db.query(insert, ["lost"]);
    await one.query("select pg_advisory_lock(7)");
    await other.query("commit");
  });
  const { rows } = await database.pool.query("select pg_try_advisory_lock(7) as free");
  await database.pool.query("select pg_advisory_unlock_all()");

  expect(await notes()).toEqual([]);
  expect(rows).toEqual([{ free: true }]);
});

test("a statement that has a name is counted like any other, each time that it is sent", async () => {
  const process = await mortal(database);
  const client = await process.pool.connect();
  for (const note of ["one", "two"]) await client.query({ name: "note", text: insert, values: [note] });
  client.release();

  expect(process.wire.sent).toHaveLength(2);
  await dying({ kind: "before", nth: 2 }, async ({ pool }) => {
    const db = await pool.connect();
    for (const note of ["three", "four"]) await db.query({ name: "note", text: insert, values: [note] });
  });
  expect(await notes()).toEqual(["one", "three", "two"]);
});

describe("whoever goes on in a dead process", () => {
  test("gets no connection any more", async () => {
    const { pool, wire, bury } = await mortal(database, { kind: "before", nth: 1 });
    const waiting = Promise.allSettled([pool.query(insert, ["one"]), pool.query(insert, ["other"])]);
    await wire.died;
    const late = pool.query(insert, ["late"]).then(() => "done");
    await bury();

    expect((await waiting).map(({ status }) => status)).toEqual(["rejected", "rejected"]);
    expect(await Promise.race([late, wire.mourned().then(() => "silence")])).toBe("silence");
    expect(await notes()).toEqual([]);
  });

  test("does nothing more in its graphs either", async () => {
    const { life, pool, wire, bury } = await mortal(database, { kind: "before", nth: 1 });
    await life.do("one");
    const waiting = Promise.allSettled([pool.query("select 1")]);
    await wire.died;
    const two = life.do("two").then(() => "done");

    expect(await Promise.race([two, wire.mourned().then(() => "silence")])).toBe("silence");
    expect(life.deeds).toEqual(["one"]);
    await bury();
    expect((await waiting).map(({ status }) => status)).toEqual(["rejected"]);
  });
});

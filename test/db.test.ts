import { beforeAll, expect, onTestFinished, test, vi } from "vitest";
import { z } from "zod";
import {
  databaseUnavailable,
  execute,
  isConnectionError,
  many,
  maybeOne,
  one,
  openPool,
  type Pool,
  planFor,
  prepared,
  transaction,
  transactionOfOne,
} from "../src/db.ts";
import { testDatabase } from "./support/database.ts";
import { proxyTo } from "./support/proxy.ts";

const Word = z.object({ word: z.string() });
let pool: Pool;
let url: string;

beforeAll(async () => {
  ({ pool, url } = await testDatabase({ migrated: false }));
  await pool.query("create schema loregraph create table words (word text)");
});

test("means our schema by every unqualified name", async () => {
  expect(await one(pool, Word, "select current_schema() as word")).toEqual({ word: "loregraph" });
});

test("lets no process that was frozen in a transaction hold its locks for ever", async () => {
  expect(
    await one(pool, Word, "select current_setting('idle_in_transaction_session_timeout') as word"),
  ).toEqual({
    word: "1min",
  });
});

test("promises how many rows come back", async () => {
  await execute(pool, "truncate words");
  expect(await maybeOne(pool, Word, "select word from words")).toBeUndefined();
  await expect(one(pool, Word, "select word from words")).rejects.toThrow("expected one row, got: none");

  expect(await execute(pool, "insert into words values ($1), ($2)", ["lore", "graph"])).toBe(2);
  expect(await many(pool, Word, "select word from words order by 1")).toEqual([
    { word: "graph" },
    { word: "lore" },
  ]);
  await expect(maybeOne(pool, Word, "select word from words")).rejects.toThrow(
    "expected at most one row, got: 2",
  );
});

test("refuses a row of another shape than promised", async () => {
  await expect(one(pool, Word, "select 1 as word")).rejects.toThrow(z.ZodError);
});

test("commits a transaction of one statement, or nothing of it", async () => {
  await execute(pool, "truncate words");
  const made = await transactionOfOne(pool, (db) =>
    many(db, Word, "insert into words values ('one') returning word"),
  );
  const failing = transactionOfOne(pool, (db) =>
    many(db, Word, "insert into words select 'two' returning (1 / 0)::text as word"),
  );

  expect(made).toEqual([{ word: "one" }]);
  await expect(failing).rejects.toThrow("division by zero");
  expect(await many(pool, Word, "select word from words")).toEqual([{ word: "one" }]);
});

test("runs nothing of a transaction that could not begin", async () => {
  await execute(pool, "truncate words");
  const begin = "begin; set local lock_timeout = 'nonsense'";
  const insert = "insert into words values ('lost')";

  await expect(transaction(pool, (db) => execute(db, insert), begin)).rejects.toThrow("lock_timeout");
  await expect(transactionOfOne(pool, (db) => execute(db, insert), begin)).rejects.toThrow("lock_timeout");
  expect(await many(pool, Word, "select word from words")).toEqual([]);
});

test("keeps the plan of a prepared statement for some seconds, and then plans it for the tables as they are; for many items always", async () => {
  using clock = vi.spyOn(performance, "now");
  clock.mockReturnValue(100_000);
  const own = openPool(url, { max: 1 });
  onTestFinished(() => own.end());
  await pool.query("create table pages (word text primary key); insert into pages values ('first')");
  await pool.query("vacuum analyze pages");
  const wanted = prepared("select word from pages where word = $1");
  const Plan = z.object({
    "QUERY PLAN": z.tuple([z.object({ Plan: z.object({ "Node Type": z.string() }) })]),
  });
  const scan = (items: number) =>
    transaction(
      own,
      async (db) => {
        await many(db, Word, wanted, ["first"]);
        const explained = await one(db, Plan, `explain (format json) execute "${wanted.name}" ('first')`);
        return explained["QUERY PLAN"][0].Plan["Node Type"];
      },
      `begin; ${planFor(items)}`,
    );

  expect(await scan(1)).toBe("Seq Scan");
  await pool.query("insert into pages select 'page ' || n from generate_series(1, 100000) n");
  expect(await scan(1)).toBe("Seq Scan");
  expect(await scan(100)).not.toBe("Seq Scan");
  clock.mockReturnValue(106_000);
  expect(await scan(1)).not.toBe("Seq Scan");
});

test("commits all of a transaction", async () => {
  await execute(pool, "truncate words");
  const answer = await transaction(pool, async (db) => {
    await execute(db, "insert into words values ('first')");
    await execute(db, "insert into words values ('second')");
    return "done";
  });
  expect(answer).toBe("done");
  expect(await many(pool, Word, "select word from words")).toHaveLength(2);
});

test("commits nothing of a transaction that fails, and throws what failed", async () => {
  await execute(pool, "truncate words");
  const failing = transaction(pool, async (db) => {
    await execute(db, "insert into words values ('lost')");
    throw new Error("on purpose");
  });
  await expect(failing).rejects.toThrow("on purpose");
  expect(await many(pool, Word, "select word from words")).toEqual([]);
});

test("takes a connection that broke inside a transaction out of the pool, and goes on", async () => {
  const single = openPool(url, { max: 1 });
  const breaking = transaction(single, async (db) => {
    const { pid } = await one(db, z.object({ pid: z.int() }), "select pg_backend_pid() as pid");
    await pool.query("select pg_terminate_backend($1)", [pid]);
    await db.query("select 1");
  });
  const error = await breaking.catch((caught) => caught);

  expect(isConnectionError(error)).toBe(true);
  expect(await one(single, Word, "select 'again' as word")).toEqual({ word: "again" });
  await single.end();
});

test("survives the loss of an idle connection, and tells of it", async () => {
  const lost = Promise.withResolvers<Error>();
  const single = openPool(url, { max: 1, onError: lost.resolve });
  const { pid } = await one(single, z.object({ pid: z.int() }), "select pg_backend_pid() as pid");
  await pool.query("select pg_terminate_backend($1)", [pid]);

  expect(isConnectionError(await lost.promise)).toBe(true);
  expect(await one(single, Word, "select 'again' as word")).toEqual({ word: "again" });
  await single.end();
});

test("tells a database that is away from a statement that is wrong", async () => {
  const nobody = openPool("postgres://nobody@127.0.0.1:1/none");
  const away = await nobody.query("select 1").catch((error) => error);
  const wrong = await pool.query("select nonsense").catch((error) => error);
  await nobody.end();

  expect(isConnectionError(away)).toBe(true);
  expect(isConnectionError(wrong)).toBe(false);
});

test("takes a server that has no room for one that is away", async () => {
  const full = "do $$ begin raise exception 'could not extend file' using errcode = 'disk_full'; end $$";
  const error = await pool.query(full).catch((thrown) => thrown);

  expect(isConnectionError(error)).toBe(true);
});

test("names an unavailable database by host and name, never by its password", () => {
  const { message } = databaseUnavailable("postgres://me:secret@db.example:5433/lore", new Error("refused"));
  expect(message).toBe("cannot connect to Postgres at db.example:5433/lore: refused");
});

test("keeps the options that a URL already has", async () => {
  const asked = new URL(url);
  asked.searchParams.set("options", "-c statement_timeout=4321");
  const own = openPool(asked.href);
  try {
    expect(await one(own, Word, "select current_setting('statement_timeout') as word")).toEqual({
      word: "4321ms",
    });
    expect(await one(own, Word, "select current_schema() as word")).toEqual({ word: "loregraph" });
  } finally {
    await own.end();
  }
});

test("says where it looked for a database, behind a Unix socket too", () => {
  const refused = new Error("no such file");
  const said = (address: string) => databaseUnavailable(address, refused).message;

  expect(said("postgres://me:secret@db.test:5433/lore")).toBe(
    "cannot connect to Postgres at db.test:5433/lore: no such file",
  );
  expect(said("postgres://me:secret@/lore?host=/run/pg")).toBe(
    "cannot connect to Postgres at /lore: no such file",
  );
});

test("gives up a connection that answers nothing, and goes on with another", {
  timeout: 15_000,
}, async () => {
  const proxy = await proxyTo(url);
  const silent = openPool(proxy.url, { silentMs: 500, max: 1 });
  await silent.query("select");
  proxy.blackHole();

  const unanswered = await Promise.all([
    silent.query("select").catch((error) => error),
    transaction(silent, (db) => execute(db, "select")).catch((error) => error),
  ]);
  expect(unanswered.map(isConnectionError)).toEqual([true, true]);

  proxy.mend();
  expect(await transaction(silent, (db) => one(db, Word, "select 'back' as word"))).toEqual({ word: "back" });
  await silent.end();
  await proxy.close();
});

test("ends a pool whose connections answer nothing", { timeout: 15_000 }, async () => {
  const proxy = await proxyTo(url);
  const silent = openPool(proxy.url, { silentMs: 500, max: 1 });
  const begun = Promise.withResolvers<void>();
  const unanswered = transaction(silent, async (db) => {
    proxy.blackHole();
    begun.resolve();
    await execute(db, "select");
  }).catch((error) => error);
  await begun.promise;

  await silent.end();

  expect(isConnectionError(await unanswered)).toBe(true);
  await proxy.close();
});

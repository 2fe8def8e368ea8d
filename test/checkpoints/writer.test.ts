import { randomUUID } from "node:crypto";
import { beforeAll, expect, test } from "vitest";
import { CheckpointSaver } from "../../checkpoints/saver.ts";
import { CheckpointWriter } from "../../checkpoints/writer.ts";
import { openPool, type Pool, transaction } from "../../src/db.ts";
import { reapExpired } from "../../src/ledger/reap.ts";
import { putTask, putValues, rowsOf, saverOf } from "../support/checkpoints.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { claimed } from "../support/ledger.ts";
import { proxyTo } from "../support/proxy.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});

/** A saver whose statements are counted. */
function counting(options: ConstructorParameters<typeof CheckpointWriter>[1] = {}) {
  const asked: unknown[] = [];
  const pool = new Proxy(database.pool, {
    get(target, property) {
      if (property !== "query") return Reflect.get(target, property, target);
      return (...query: Parameters<Pool["query"]>) => {
        asked.push(query[0]);
        return target.query(...query);
      };
    },
  });
  return { saver: new CheckpointSaver(new CheckpointWriter(pool, options)), asked };
}

const threads = (count: number) => Array.from({ length: count }, () => randomUUID());

test("what is put by many graphs in one moment is one statement", async () => {
  const { saver, asked } = counting();
  const ids = threads(50);
  await Promise.all(ids.map((id) => putValues(saver, id, { text: "a", note: { n: 1 } })));

  expect(asked).toHaveLength(1);
  for (const id of ids) expect(await rowsOf(database.pool, id)).toEqual([1, 2, 0]);
});

test("what is put while statements are on their way gathers for the next", async () => {
  const { saver, asked } = counting({ statements: 1 });
  const first = threads(5).map((id) => putValues(saver, id, { text: "a" }));
  while (asked.length === 0) await new Promise(setImmediate);
  const later = threads(20).map((id) => putValues(saver, id, { text: "b" }));
  await Promise.all([...first, ...later]);

  expect(asked).toHaveLength(2);
});

test("nothing is acknowledged before it is committed", async () => {
  const { saver } = counting();
  const id = randomUUID();
  let acknowledged = false;
  const put = await transaction(database.pool, async (db) => {
    await db.query("lock table checkpoint_blobs in exclusive mode");
    const putting = putValues(saver, id, { text: "a" }).then(() => {
      acknowledged = true;
    });
    const waiting =
      "select from pg_stat_activity where wait_event_type = 'Lock' and query like '%checkpoint_blobs%'";
    while ((await database.pool.query(waiting)).rowCount === 0);
    expect(acknowledged).toBe(false);
    return { putting };
  });
  await put.putting;

  expect(await rowsOf(database.pool, id)).toEqual([1, 1, 0]);
});

test("an attempt that lost its lease writes nothing, and those beside it in the statement do", async () => {
  const writer = new CheckpointWriter(database.pool);
  const [lost, held] = [await claimed(database.pool, {}, { leaseMs: -1 }), await claimed(database.pool)];
  await reapExpired(database.pool);
  const write = (run: typeof held) => {
    const row = { ns: "", id: "1", parent: null, checkpoint: "{}", metadata: "{}" };
    return writer.write({ thread_id: run.id, attempt: run, checkpoints: [row], blobs: [], writes: [] });
  };
  const written = await Promise.allSettled([write(lost), write(held)]);

  expect(written).toMatchObject([
    { status: "rejected", reason: { code: "LEASE_LOST" } },
    { status: "fulfilled" },
  ]);
  expect(await rowsOf(database.pool, lost.id)).toEqual([0, 0, 0]);
  expect(await rowsOf(database.pool, held.id)).toEqual([1, 0, 0]);
});

test("a stale attempt writes nothing under the lease of the one that took its run over", async () => {
  const writer = new CheckpointWriter(database.pool);
  const run = await claimed(database.pool);
  const stale = { ...run, lease_token: randomUUID() };
  const write = (attempt: typeof run, id: string) => {
    const row = { ns: "", id, parent: null, checkpoint: "{}", metadata: "{}" };
    return writer.write({ thread_id: run.id, attempt, checkpoints: [row], blobs: [], writes: [] });
  };
  const written = await Promise.allSettled([write(run, "1"), write(stale, "2"), write(run, "3")]);

  expect(written.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
  expect(await rowsOf(database.pool, run.id)).toEqual([2, 0, 0]);
});

test("rows that Postgres refuses fail alone", async () => {
  const { saver } = counting();
  const [good, bad, other] = [randomUUID(), randomUUID(), randomUUID()];
  const puts = await Promise.allSettled([
    putValues(saver, good, { text: "a" }),
    putValues(saver, bad, { "a channel with a NUL \0": "b" }),
    putValues(saver, other, { text: "c" }),
  ]);

  expect(puts.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
  expect(await rowsOf(database.pool, good)).toEqual([1, 1, 0]);
  expect(await rowsOf(database.pool, bad)).toEqual([0, 0, 0]);
});

test("rows of one thread are committed in the order in which they were put", async () => {
  const { saver } = counting({ statements: 4 });
  const id = randomUUID();
  const checkpoint = await putValues(saver, id, { text: "a" });
  await Promise.all(
    Array.from({ length: 20 }, (_, nth) => putTask(saver, id, checkpoint, ["__error__", `error ${nth}`])),
  );
  const tuple = await saver.getTuple({ configurable: { thread_id: id } });

  expect(tuple?.pendingWrites).toEqual([["task", "__error__", "error 19"]]);
});

test("a second write of the same task and channel does not replace the first", async () => {
  const { saver } = counting();
  const id = randomUUID();
  const checkpoint = await putValues(saver, id, { text: "a" });
  await Promise.all([
    putTask(saver, id, checkpoint, ["text", "first"]),
    putTask(saver, id, checkpoint, ["text", "second"]),
  ]);
  await putTask(saver, id, checkpoint, ["text", "third"]);
  const tuple = await saver.getTuple({ configurable: { thread_id: id } });

  expect(tuple?.pendingWrites).toEqual([["task", "text", "first"]]);
});

test("whoever brings more than the queue holds waits until there is room", async () => {
  const { saver, asked } = counting({ statements: 1, queueBytes: 100_000 });
  const puts = threads(12).map((id) => putValues(saver, id, { text: "x".repeat(60_000) }));
  await Promise.all(puts);

  // None but the first fits beside another.
  expect(asked).toHaveLength(12);
});

test("a small put does not overtake a large one of its thread that waits for room", async () => {
  const { saver } = counting({ statements: 1, queueBytes: 100_000 });
  const id = randomUUID();
  const checkpoint = await putValues(saver, id, { text: "a" });
  const large = (fill: string) => putTask(saver, id, checkpoint, ["__error__", fill.repeat(90_000)]);
  await Promise.all([large("x"), large("y"), putTask(saver, id, checkpoint, ["__error__", "the last"])]);

  expect((await saver.getTuple({ configurable: { thread_id: id } }))?.pendingWrites).toEqual([
    ["task", "__error__", "the last"],
  ]);
});

test("values of half a megabyte come back as they were", async () => {
  const { saver } = counting();
  const id = randomUUID();
  const values = {
    text: "“Ünïcode” 小说 ".repeat(40_000),
    bytes: Uint8Array.from([0, 1, 255]),
    none: null,
    empty: "",
  };
  await putValues(saver, id, values);

  expect((await saver.getTuple({ configurable: { thread_id: id } }))?.checkpoint.channel_values).toEqual({
    ...values,
    bytes: expect.objectContaining({ length: 3 }),
  });
});

test("a connection that is cut while a checkpoint is written is made again, and it is written", async () => {
  await using proxy = await proxied();
  const saver = saverOf(proxy.pool, await claimed(database.pool), { holds: false });
  const run = await claimed(database.pool);
  const other = saverOf(proxy.pool, run, { holds: false });
  await putValues(other, run.id, { text: "a" });
  proxy.cut();
  const put = putValues(other, run.id, { text: "b" });
  await proxy.nextAttempt();
  proxy.mend();
  await put;
  saver.stop();

  expect(await rowsOf(database.pool, run.id)).toEqual([2, 2, 0]);
});

async function proxied() {
  const proxy = await proxyTo(database.url);
  const pool = openPool(proxy.url);
  return Object.assign(proxy, {
    pool,
    async [Symbol.asyncDispose]() {
      await pool.end();
      await proxy.close();
    },
  });
}

import { randomUUID } from "node:crypto";
import { beforeAll, describe, expect, test, vi } from "vitest";
import { z } from "zod";
import { openPool } from "../../src/db.ts";
import { succeedRun } from "../../src/ledger/attempt.ts";
import { reapExpired } from "../../src/ledger/reap.ts";
import type { ClaimedRun } from "../../src/ledger/run.ts";
import { noUsage } from "../../src/pipeline.ts";
import { putTask, putValues, rowsOf, saverOf } from "../support/checkpoints.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { claimed, stamp } from "../support/ledger.ts";
import { proxyTo } from "../support/proxy.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});

const never = 600_000;

/** Resolves when the tables hold something of the run's thread. */
async function untilSaved({ id }: ClaimedRun): Promise<void> {
  while ((await rowsOf(database.pool, id)).every((rows) => rows === 0));
}

test("nothing is sent while nothing that was finished could be lost", async () => {
  const run = await claimed(database.pool);
  const saver = saverOf(database.pool, run, { holdMs: 0, longMs: never });
  await putValues(saver, run.id, { text: "a" });
  await new Promise(setImmediate);
  saver.stop();

  expect(await rowsOf(database.pool, run.id)).toEqual([0, 0, 0]);
});

test("what a node that took long has written is saved at once, with the checkpoint that it belongs to", async () => {
  const run = await claimed(database.pool);
  const saver = saverOf(database.pool, run, { longMs: 0, holdMs: never });
  const first = await putValues(saver, run.id, { text: "a" });
  await putTask(saver, run.id, first, ["text", "b"]);
  await untilSaved(run);

  expect(await rowsOf(database.pool, run.id)).toEqual([1, 1, 1]);
});

test("what quick nodes have finished is saved after a short time", async () => {
  const run = await claimed(database.pool);
  const saver = saverOf(database.pool, run, { longMs: never, worthMs: 0, holdMs: 5 });
  const first = await putValues(saver, run.id, { text: "a" });
  await putTask(saver, run.id, first, ["text", "b"]);
  await untilSaved(run);

  expect(await rowsOf(database.pool, run.id)).toEqual([1, 1, 1]);
});

test("what is done again sooner than it is saved is not saved, however long it waits", async () => {
  const run = await claimed(database.pool);
  const saver = saverOf(database.pool, run, { worthMs: never, holdMs: 0, longMs: never });
  const first = await putValues(saver, run.id, { text: "a" });
  await putTask(saver, run.id, first, ["text", "b"]);
  await new Promise((resolve) => setTimeout(resolve, 5));
  saver.stop();

  expect(await rowsOf(database.pool, run.id)).toEqual([0, 0, 0]);
});

test.each([
  { took: 200, waits: 10 },
  { took: 5_000, waits: 25 },
])("after $took ms of work, a run has $waits ms to end before it is saved", async ({ took, waits }) => {
  const run = await claimed(database.pool);
  const saver = saverOf(database.pool, run, {});
  using clock = vi.spyOn(performance, "now");
  using timers = vi.spyOn(globalThis, "setTimeout");
  clock.mockReturnValue(1_000);
  const first = await putValues(saver, run.id, { text: "a" });
  clock.mockReturnValue(1_000 + took);
  await putTask(saver, run.id, first, ["text", "b"]);
  saver.stop();

  expect(timers.mock.calls.map(([, ms]) => ms)).toEqual([waits]);
});

test("work that took long does not wait for as long as what was done before it", async () => {
  const run = await claimed(database.pool);
  const saver = saverOf(database.pool, run, { longMs: 20, worthMs: 0, holdMs: never });
  const first = await putValues(saver, run.id, { text: "a" });
  await putTask(saver, run.id, first, ["text", "b"]);
  const second = await putValues(saver, run.id, { text: "b" }, first);
  await new Promise((resolve) => setTimeout(resolve, 25));
  await putTask(saver, run.id, second, ["text", "c"]);
  await untilSaved(run);

  expect(await rowsOf(database.pool, run.id)).toEqual([1, 1, 1]);
});

test("of what is held only the newest is sent, and it follows on what was sent before", async () => {
  const run = await claimed(database.pool);
  const saver = saverOf(database.pool, run, { longMs: never, holdMs: never });
  const ids: string[] = [];
  for (const text of ["a", "b", "c"]) {
    ids.push(await putValues(saver, run.id, { text }, ids.at(-1)));
    await putTask(saver, run.id, ids.at(-1) ?? "", ["text", text]);
  }
  await saver.flush();
  for (const text of ["d", "e"]) ids.push(await putValues(saver, run.id, { text }, ids.at(-1)));
  const tuple = await saver.getTuple({ configurable: { thread_id: run.id } });

  expect(await rowsOf(database.pool, run.id)).toEqual([2, 2, 1]);
  expect(tuple?.checkpoint).toMatchObject({ id: ids[4], channel_values: { text: "e" } });
  expect(tuple?.parentConfig?.configurable?.checkpoint_id).toBe(ids[2]);
});

test("what is put is what is saved, even where a node changes it afterwards", async () => {
  const run = await claimed(database.pool);
  const saver = saverOf(database.pool, run, { longMs: never, holdMs: never });
  const list = ["as it was"];
  await putValues(saver, run.id, { list });
  list.push("changed in place");
  const tuple = await saver.getTuple({ configurable: { thread_id: run.id } });

  expect(tuple?.checkpoint.channel_values).toEqual({ list: ["as it was"] });
});

test("bytes are saved as they were put, even where a node goes on writing into them", async () => {
  const run = await claimed(database.pool);
  const saver = saverOf(database.pool, run, { longMs: never, holdMs: never });
  const bytes = Uint8Array.from([1, 2]);
  await putValues(saver, run.id, { bytes });
  bytes[0] = 9;
  const tuple = await saver.getTuple({ configurable: { thread_id: run.id } });

  expect(Buffer.from(z.instanceof(Uint8Array).parse(tuple?.checkpoint.channel_values.bytes))).toEqual(
    Buffer.from([1, 2]),
  );
});

test("what Postgres refuses is told once, and what comes after it is saved", async () => {
  const run = await claimed(database.pool);
  const refused = Promise.withResolvers<unknown>();
  const saver = saverOf(database.pool, run, { longMs: 0, onRefused: refused.resolve });
  const first = await putValues(saver, run.id, { "a channel with a NUL \0": "a" });
  await putTask(saver, run.id, first, ["text", "b"]);
  expect(await refused.promise).toMatchObject({ code: "22P05" });
  await putValues(saver, run.id, { text: "b" });
  await saver.flush();

  expect(await rowsOf(database.pool, run.id)).toEqual([1, 1, 0]);
});

test("a first attempt reads nothing before something was put", async () => {
  const run = await claimed(database.pool);
  const nowhere = openPool("postgres://nobody@127.0.0.1:1/nothing");
  const saver = saverOf(nowhere, run);

  expect(await saver.getTuple({ configurable: { thread_id: run.id } })).toBeUndefined();
  await nowhere.end();
});

test("where every checkpoint is kept, each is committed when it is put", async () => {
  const run = await claimed(database.pool);
  const saver = saverOf(database.pool, run, { holds: false });
  const first = await putValues(saver, run.id, { text: "a" });
  await putValues(saver, run.id, { text: "b" }, first);

  expect(await rowsOf(database.pool, run.id)).toEqual([2, 2, 0]);
});

test("a list shows what was held, too", async () => {
  const run = await claimed(database.pool);
  const saver = saverOf(database.pool, run, { longMs: never, holdMs: never });
  const id = await putValues(saver, run.id, { text: "a" });
  const found = await Array.fromAsync(saver.list({ configurable: { thread_id: run.id } }));

  expect(found.map(({ checkpoint }) => checkpoint.id)).toEqual([id]);
});

describe("an attempt that lost its lease", () => {
  async function lost(options: Parameters<typeof saverOf>[2] = {}) {
    const run = await claimed(database.pool, {}, { leaseMs: -1 });
    const told = Promise.withResolvers<void>();
    const saver = saverOf(database.pool, run, { ...options, onLost: told.resolve });
    await reapExpired(database.pool);
    return { run, saver, told: told.promise };
  }

  test("is told when it saves in the background, and has saved nothing", async () => {
    const { run, saver, told } = await lost({ longMs: 0 });
    const first = await putValues(saver, run.id, { text: "a" });
    await putTask(saver, run.id, first, ["text", "b"]);
    await told;

    expect(await rowsOf(database.pool, run.id)).toEqual([0, 0, 0]);
  });

  test("fails where it waits for what it saves", async () => {
    const { run, saver } = await lost();
    await putValues(saver, run.id, { text: "a" });

    await expect(saver.flush()).rejects.toMatchObject({ code: "LEASE_LOST" });
  });

  test("deletes nothing", async () => {
    const { run, saver } = await lost();
    const other = saverOf(database.pool, await claimed(database.pool));
    other.stop();
    await database.pool.query(
      "insert into checkpoints (thread_id, checkpoint_id, checkpoint) values ($1, 'c', '{}')",
      [run.id],
    );

    await expect(saver.deleteThread()).rejects.toMatchObject({ code: "LEASE_LOST" });
    expect(await rowsOf(database.pool, run.id)).toEqual([1, 0, 0]);
  });

  test("so does one whose run has ended", async () => {
    const run = await claimed(database.pool);
    const saver = saverOf(database.pool, run);
    await putValues(saver, run.id, { text: "a" });
    await succeedRun(database.pool, run, { outcome: "completed", stamp, usage: noUsage });

    await expect(saver.flush()).rejects.toMatchObject({ code: "LEASE_LOST" });
  });
});

test("what could not be sent while the database was away is sent when it is back", async () => {
  const run = await claimed(database.pool);
  const proxy = await proxyTo(database.url);
  const pool = openPool(proxy.url);
  const saver = saverOf(pool, run, { longMs: never, holdMs: never });
  const first = await putValues(saver, run.id, { text: "a", title: "t" });
  await putTask(saver, run.id, first, ["text", "b"]);
  proxy.cut();
  await expect(saver.flush()).rejects.toMatchObject({ code: "DATABASE_UNAVAILABLE" });
  const second = await putValues(saver, run.id, { text: "b" }, first);
  proxy.mend();
  await saver.flush();
  const tuple = await saverOf(database.pool, run, { resumable: true }).getTuple({
    configurable: { thread_id: run.id },
  });

  // The checkpoint before was never sent; its title, which nothing replaced, was.
  expect(tuple?.checkpoint).toMatchObject({ id: second, channel_values: { text: "b" } });
  expect(await rowsOf(database.pool, run.id)).toEqual([1, 2, 0]);
  await pool.end();
  await proxy.close();
});

test("a stopped attempt saves nothing more", async () => {
  const run = await claimed(database.pool);
  const saver = saverOf(database.pool, run, { longMs: 0, holdMs: 0 });
  const first = await putValues(saver, run.id, { text: randomUUID() });
  saver.stop();
  await putTask(saver, run.id, first, ["text", "late"]);
  await saver.flush();

  expect(await rowsOf(database.pool, run.id)).toEqual([0, 0, 0]);
});

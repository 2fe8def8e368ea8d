import { randomUUID } from "node:crypto";
import fastify from "fastify";
import pino from "pino";
import { beforeAll, beforeEach, expect, onTestFinished, test } from "vitest";
import type { Pool } from "../../src/db.ts";
import { type Feeds, openFeeds } from "../../src/http/feed.ts";
import type { App } from "../../src/http/services.ts";
import { openStreams, streamRoute } from "../../src/http/stream.ts";
import { appendEvents } from "../../src/store/events.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { listenTo } from "../support/sse.ts";

let database: TestDatabase;
let tenant_id: string;
beforeAll(async () => {
  database = await testDatabase();
});
beforeEach(() => {
  tenant_id = randomUUID();
});

/** Streams of tenants' events from a pool, without keys. */
async function open({ pool = database.pool }: { pool?: Pool } = {}) {
  const reads = { pending: 0, fruitful: 0 };
  const counting = {
    query: async (...given: [string, unknown[]]) => {
      reads.pending++;
      const result = await pool.query(...given);
      reads.pending--;
      if (result.rows.some((row) => "event" in row)) reads.fruitful++;
      return result;
    },
  } as Pool;
  const app: App = fastify().withTypeProvider();
  const feeds = openFeeds({ pool: counting, log: pino({ level: "silent" }) }, { everyMs: 20 });
  const stream = openStreams(app);
  app.get<{ Params: { tenant_id: string } }>("/:tenant_id", streamRoute, async ({ params }, reply) => {
    await feeds.follow({ tenant_id: params.tenant_id }, () => stream(reply, params.tenant_id));
    return reply;
  });
  const address = await app.listen({ port: 0 });
  onTestFinished(() => app.close());
  return { feeds, reads, listen: (to = tenant_id) => listenTo(`${address}/${to}`, "") };
}

async function append(event: string, to = tenant_id): Promise<void> {
  await appendEvents(database.pool, [
    { tenant_id: to, event, source_type: "scene", source_id: randomUUID(), version: 1, metadata: {} },
  ]);
}

async function left(feeds: Feeds, tenants: readonly string[]): Promise<void> {
  await expect.poll(() => feeds.tenants.toSorted()).toEqual(tenants.toSorted());
}

test("looks at a tenant while somebody follows it, and at no other", async () => {
  const { feeds, listen } = await open();
  const other = randomUUID();
  const [one, two, three] = [await listen(), await listen(), await listen(other)];
  await left(feeds, [tenant_id, other]);
  await one[Symbol.asyncDispose]();
  await append("noticed");
  expect(await two.next()).toMatchObject({ event: "noticed" });
  await left(feeds, [tenant_id, other]);
  await two[Symbol.asyncDispose]();
  await left(feeds, [other]);
  await three[Symbol.asyncDispose]();
  await left(feeds, []);
});

test("follows a tenant again after everybody had gone", async () => {
  const { feeds, listen } = await open();
  await (await listen())[Symbol.asyncDispose]();
  await left(feeds, []);
  await using ear = await listen();
  await append("noticed");
  expect(await ear.next()).toMatchObject({ event: "noticed" });
});

test("reads an event once for all who follow", async () => {
  const { reads, listen } = await open();
  const ears = await Promise.all(Array.from({ length: 10 }, () => listen()));
  const heard = ears.map((ear) => ear.next());
  await expect.poll(() => ears.every(({ lastId }) => lastId !== "") && reads.pending === 0).toBe(true);
  await append("noticed");
  for (const each of heard) expect(await each).toMatchObject({ event: "noticed" });
  expect(reads.fruitful).toBe(1);
  for (const ear of ears) await ear[Symbol.asyncDispose]();
});

test("ends the streams where the database cannot be read, and serves those that come back", async () => {
  let broken = false;
  const failing = {
    query: (...given: [string, unknown[]]) =>
      broken ? Promise.reject(new Error("away")) : database.pool.query(...given),
  } as Pool;
  const { feeds, listen } = await open({ pool: failing });
  await using ear = await listen();
  await append("noticed");
  expect(await ear.next()).toMatchObject({ event: "noticed" });
  broken = true;
  expect(await ear.rest()).toEqual([]);
  await left(feeds, []);
  await using refused = await listen();
  expect(refused.status).toBe(500);
  await left(feeds, []);
  broken = false;
  await using again = await listen();
  await append("later");
  expect(await again.next()).toMatchObject({ event: "later" });
});

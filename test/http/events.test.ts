import { randomUUID } from "node:crypto";
import { beforeAll, describe, expect, test } from "vitest";
import { transaction } from "../../src/db.ts";
import { appendEvents, type NewEvent } from "../../src/store/events.ts";
import { scene } from "../support/content.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { openTestApp, type TestApp } from "../support/http.ts";
import { gate, runtime } from "../support/runtime.ts";
import { eventsSettled } from "../support/settled.ts";
import { type Ear, type Heard, listenTo } from "../support/sse.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});

/** An app that listens, with tenants of its own. */
async function listening(): Promise<TestApp & { readonly stream: string }> {
  const api = await openTestApp(runtime(database));
  const address = await api.app.listen({ host: "127.0.0.1", port: 0 });
  return { ...api, stream: `${address}/tenants/${api.tenant}/events/stream` };
}

function noticed(tenant_id: string, event: string, metadata: Record<string, unknown> = {}): NewEvent {
  return { tenant_id, event, source_type: "scene", source_id: randomUUID(), version: 1, metadata };
}

async function append(tenant_id: string, ...events: readonly string[]): Promise<readonly number[]> {
  return await appendEvents(
    database.pool,
    events.map((event) => noticed(tenant_id, event)),
  );
}

const names = (heard: readonly Heard[]) => heard.map(({ event }) => event);

describe("listing events", () => {
  let api: TestApp;
  beforeAll(async () => {
    api = await openTestApp(runtime(database));
  });

  const list = async (query: string) =>
    (await api.ask({ url: `/tenants/${api.tenant}/events?${query}` }, api.keys.read)).json();

  test("tells what happened, to this tenant alone, page by page and back", async () => {
    const entity = scene({ metadata: { world_id: "w" } });
    await api.ask({ method: "PUT", url: `/tenants/${api.tenant}/entities`, payload: { entities: [entity] } });
    await append(api.foreign, "secret");
    await append(api.tenant, "noticed.a", "noticed.b");
    await eventsSettled(database.pool, api.tenant);

    const { items, next } = await list("limit=2");
    expect(items).toEqual([
      {
        id: expect.any(Number),
        event: "entity.changed",
        tenant_id: api.tenant,
        source_type: "scene",
        source_id: entity.source_id,
        version: 1,
        occurred_at: expect.stringMatching(/^\d{4}-.*Z$/),
        metadata: { world_id: "w" },
        run_id: null,
      },
      expect.objectContaining({ event: "noticed.a" }),
    ]);
    expect(next).toBe(String(items[1].id));
    expect(await list(`limit=2&after=${next}`)).toMatchObject({
      items: [{ event: "noticed.b" }],
      next: null,
    });
    expect(names((await list("order=desc")).items)).toEqual(["noticed.b", "noticed.a", "entity.changed"]);
    expect(names((await list("event=noticed.a")).items)).toEqual(["noticed.a"]);
    expect(names((await list(`source_type=scene&source_id=${entity.source_id}`)).items)).toEqual([
      "entity.changed",
    ]);
  });

  test.each([
    "limit=0",
    "limit=501",
    "after=-1",
    "after=x",
    "after=1e30",
    "event=",
    "event=a%00",
    "source_id=1",
    "order=up",
    "cursor=x",
  ])("refuses ?%s", async (query) => {
    expect(await list(query)).toMatchObject({ status: 400, code: "INPUT_INVALID" });
  });
});

describe("delivering an event again", () => {
  let api: TestApp;
  beforeAll(async () => {
    api = await openTestApp(runtime(database));
  });

  const redeliver = async (id: number | string, payload?: object) => {
    const url = `/tenants/${api.tenant}/events/${id}/redeliver`;
    return await api.ask({ method: "POST", url, ...(payload ? { payload } : {}) }, api.keys.write);
  };

  test("tells how many webhooks will get it", async () => {
    const [id = 0] = await append(api.tenant, "noticed");
    expect((await redeliver(id)).json()).toEqual({ webhooks: 0 });
    const { rows } = await database.pool.query(
      "insert into webhooks (tenant_id, url, secret) values ($1, 'https://example.org/', 'whsec_x') returning id",
      [api.tenant],
    );
    const answer = await redeliver(id, { webhook_id: rows[0].id });
    expect([answer.statusCode, answer.json()]).toEqual([202, { webhooks: 1 }]);
  });

  test("knows neither another tenant's event nor an unknown webhook", async () => {
    const [theirs = 0] = await append(api.foreign, "secret");
    const [id = 0] = await append(api.tenant, "noticed");
    expect((await redeliver(theirs)).json()).toMatchObject({ status: 404, code: "NOT_FOUND" });
    expect((await redeliver(id, { webhook_id: randomUUID() })).json()).toMatchObject({ status: 404 });
    expect((await redeliver("x")).json()).toMatchObject({ status: 400 });
    expect((await redeliver(id, { other: 1 })).json()).toMatchObject({ status: 400 });
  });
});

describe("following events", () => {
  test("tells what happens from now on, to this tenant alone", async () => {
    const api = await listening();
    await append(api.tenant, "before");
    await eventsSettled(database.pool, api.tenant);
    await using ear = await listenTo(api.stream, api.keys.read);
    await append(api.foreign, "secret");
    const [id] = await append(api.tenant, "noticed");

    expect(await ear.next()).toEqual({
      id: String(id),
      event: "noticed",
      data: expect.objectContaining({
        id,
        event: "noticed",
        tenant_id: api.tenant,
        source_type: "scene",
        version: 1,
      }),
    });
  });

  test("goes on after the event that the client got last, whatever its address says", async () => {
    const api = await listening();
    const [, two, three] = await append(api.tenant, "one", "two", "three");
    await using all = await listenTo(`${api.stream}?after=0`, api.keys.read);
    expect(names(await all.take(3))).toEqual(["one", "two", "three"]);
    await using some = await listenTo(`${api.stream}?after=0`, api.keys.read, String(two));
    expect(await some.next()).toMatchObject({ id: String(three), event: "three" });
  });

  test("loses nothing between opening and the first event", async () => {
    const api = await listening();
    const ear = await listenTo(api.stream, api.keys.read);
    const heard = ear.rest().catch(() => []); // cut off before the first event
    await expect.poll(() => ear.lastId).not.toBe("");
    await ear[Symbol.asyncDispose]();
    await heard;
    await append(api.tenant, "meanwhile");
    await using again = await listenTo(api.stream, api.keys.read, ear.lastId);
    expect(await again.next()).toMatchObject({ event: "meanwhile" });
  });

  test("tells only of what is asked for, and goes on from where it looked", async () => {
    const api = await listening();
    const ear = await listenTo(`${api.stream}?after=0&event=rare&event=rarer`, api.keys.read);
    await append(api.tenant, "common", "rare", "common", "rarer");
    expect(names(await ear.take(2))).toEqual(["rare", "rarer"]);
    const [common] = await append(api.tenant, "common");
    const heard = ear.rest().catch(() => []);
    await expect.poll(() => ear.lastId, { timeout: 15_000 }).toBe(String(common));
    await ear[Symbol.asyncDispose]();
    await heard;
  });

  test("keeps every event, once and in order, for clients that come and go while many write", async () => {
    const api = await listening();
    const written = new Set<string>();
    const writer = async (nth: number) => {
      for (let round = 0; round < 25; round++) {
        const ids = await transaction(database.pool, async (db) => [
          ...(await appendEvents(db, [noticed(api.tenant, `${nth}.${round}`)])),
          ...(await appendEvents(db, [noticed(api.tenant, `${nth}.${round} again`)])),
        ]);
        for (const id of ids) written.add(String(id));
      }
    };
    const total = 4 * 25 * 2;
    const follow = async (stay: number): Promise<readonly string[]> => {
      const seen: string[] = [];
      let lastId = "0";
      while (seen.length < total) {
        await using ear = await listenTo(api.stream, api.keys.read, lastId);
        const heard = await ear.take(Math.min(stay, total - seen.length));
        seen.push(...heard.map(({ id }) => id));
        lastId = seen.at(-1) ?? lastId;
      }
      return seen;
    };
    const writers = Promise.all([0, 1, 2, 3].map(writer));
    const [short, long, whole] = await Promise.all([follow(9), follow(70), follow(total), writers]);

    expect(new Set(short)).toEqual(written);
    expect(short).toHaveLength(total);
    expect(long).toEqual(short);
    expect(whole).toEqual(short);
  });

  test("waits for a transaction that began earlier, and then tells both", async () => {
    const api = await listening();
    await using ear = await listenTo(api.stream, api.keys.read);
    const { pass, reached, open } = gate();
    const early = transaction(database.pool, async (db) => {
      await appendEvents(db, [noticed(api.tenant, "begun early")]);
      await pass();
    });
    await reached;
    await append(api.tenant, "begun late");
    open();
    await early;
    expect(names(await ear.take(2))).toEqual(["begun early", "begun late"]);
  });

  test("lets a client that does not read delay no one, and tells it everything once it reads", async () => {
    const api = await listening();
    const padding = "x".repeat(30_000);
    await using slow = await listenTo(`${api.stream}?after=0`, api.keys.read);
    const ids = await appendEvents(
      database.pool,
      Array.from({ length: 500 }, (_, nth) => noticed(api.tenant, `noticed.${nth}`, { padding })),
    );
    await eventsSettled(database.pool, api.tenant);
    await using quick = await listenTo(api.stream, api.keys.read);
    const [last] = await append(api.tenant, "new");
    expect(await quick.next()).toMatchObject({ event: "new" });

    const heard = await slow.take(501);
    expect(heard.map(({ id }) => id)).toEqual([...ids, last].map(String));
  });

  test("has a limit to how many a tenant may open, and room again once they have gone", async () => {
    const api = await listening();
    const ears: Ear[] = [];
    for (let nth = 0; nth < 20; nth++) ears.push(await listenTo(api.stream, api.keys.read));
    await using refused = await listenTo(api.stream, api.keys.read);
    expect(refused.status).toBe(429);
    await using foreign = await listenTo(api.stream.replace(api.tenant, api.foreign), api.keys.foreignRead);
    expect(foreign.status).toBe(200);

    for (const ear of ears) await ear[Symbol.asyncDispose]();
    await expect
      .poll(async () => {
        await using ear = await listenTo(api.stream, api.keys.read);
        return ear.status;
      })
      .toBe(200);
  });

  test("ends when the app closes, without a client having to go", async () => {
    const api = await listening();
    await using ear = await listenTo(`${api.stream}?after=0`, api.keys.read);
    await append(api.tenant, "noticed");
    expect(await ear.next()).toMatchObject({ event: "noticed" });
    const rest = ear.rest();
    await api.app.close();
    expect(await rest).toEqual([]);
  });

  test.each(["?after=x", "?after=-1", "?event=", "?limit=1", "?event=a%00b"])("refuses %s", async (query) => {
    const api = await listening();
    await using ear = await listenTo(`${api.stream}${query}`, api.keys.read);
    expect(ear.status).toBe(400);
  });

  test("refuses a Last-Event-ID that is no event's, a stranger, and a HEAD", async () => {
    const api = await listening();
    await using odd = await listenTo(api.stream, api.keys.read, "x");
    await using stranger = await listenTo(api.stream, "lg_nobody");
    await using foreign = await listenTo(api.stream, api.keys.foreignRead);
    expect([odd.status, stranger.status, foreign.status]).toEqual([400, 401, 403]);
    const head = await fetch(api.stream, {
      method: "HEAD",
      headers: { authorization: `Bearer ${api.keys.read}` },
    });
    expect(head.status).toBe(404);
  });
});

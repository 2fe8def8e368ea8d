import { randomUUID } from "node:crypto";
import pino from "pino";
import { beforeAll, describe, expect, test, vi } from "vitest";
import { LoregraphError } from "../src/errors.ts";
import { acceptEntities } from "../src/intake.ts";
import { sourceTypes } from "../src/pipeline.ts";
import type { Draft } from "../src/sources/draft.ts";
import { openMainService } from "../src/sources/main-service.ts";
import { type SyncOptions, type SyncReport, syncTenant } from "../src/sync.ts";
import { type TestDatabase, testDatabase } from "./support/database.ts";
import { type MainServiceDouble, startMainService } from "./support/main-service.ts";
import { gate, runtime, startWorker } from "./support/runtime.ts";

let database: TestDatabase;

beforeAll(async () => {
  database = await testDatabase();
});

const nothing = { created: 0, changed: 0, moved: 0, unchanged: 0, deleted: 0, rejected: 0, rejections: [] };

function sync(
  { url, key }: MainServiceDouble,
  tenant_id: string,
  options: SyncOptions & { readonly maxTextChars?: number } = {},
): Promise<SyncReport | undefined> {
  const { maxTextChars = 10_000 } = options;
  const source = openMainService({ url, key, maxTextChars, retries: 2, backoffMs: 1 });
  const { pool, registry } = runtime(database);
  return syncTenant({ pool, registry, source, log: pino({ level: "silent" }) }, tenant_id, options);
}

/** What is stored of a tenant, as a source would give it, and each entity's version. */
async function stored(tenant_id: string) {
  const { rows } = await database.pool.query<Draft & { version: number; source: string }>(
    `select source_type, source_id, title, text, metadata, version, source from entities
     where tenant_id = $1 order by source_type, source_id`,
    [tenant_id],
  );
  return rows;
}

async function expectSame(service: MainServiceDouble, tenant_id: string): Promise<void> {
  const rows = await stored(tenant_id);
  expect(rows.map(({ version: _, source: __, ...draft }) => draft)).toEqual(service.entitiesOf(tenant_id));
  expect(new Set(rows.map(({ source }) => source)).size).toBeLessThanOrEqual(1);
}

async function eventsOf(tenant_id: string, event: string): Promise<number> {
  const { rows } = await database.pool.query(
    "select count(*)::int as count from events where tenant_id = $1 and event = $2",
    [tenant_id, event],
  );
  return rows[0].count;
}

async function cursorOf(tenant_id: string): Promise<string | undefined> {
  const { rows } = await database.pool.query("select cursor from source_cursors where tenant_id = $1", [
    tenant_id,
  ]);
  return rows[0]?.cursor;
}

const many = (service: MainServiceDouble, tenant_id: string, count: number) =>
  Array.from({ length: count }, (_, at) => service.put(tenant_id, { title: `Scene ${at}` }));

describe("the first time", () => {
  test("takes in all that the service has, and has it ingested", async () => {
    const [service, tenant] = [await startMainService(), randomUUID()];
    for (const source_type of sourceTypes) service.put(tenant, { source_type });
    many(service, randomUUID(), 3);

    expect(await sync(service, tenant)).toEqual({
      ...nothing,
      created: sourceTypes.length,
      full: true,
      cursor: await cursorOf(tenant),
    });
    await expectSame(service, tenant);
    expect(await eventsOf(tenant, "entity.changed")).toBe(sourceTypes.length);
    {
      await using worker = startWorker(runtime(database), database);
      await worker.untilDone();
    }
    expect(await eventsOf(tenant, "entity.ingested")).toBe(sourceTypes.length);
  });

  test("goes through as many pages as there are", async () => {
    const [service, tenant] = [await startMainService(), randomUUID()];
    many(service, tenant, 1_203);
    const told: number[] = [];

    expect(await sync(service, tenant, { onProgress: (done) => told.push(done) })).toMatchObject({
      created: 1_203,
    });
    await expectSame(service, tenant);
    expect(told.filter((done) => done > 0)).toContain(1_203);
    expect(told).toEqual(told.toSorted((a, b) => a - b));
  });

  test("misses nothing that changes meanwhile", async () => {
    const [service, tenant] = [await startMainService(), randomUUID()];
    const drafts = many(service, tenant, 1_100);
    let requests = 0;
    service.before(() => {
      requests++;
      if (requests > 40) return;
      const [edited, gone, replaced] = [
        drafts[requests * 3],
        drafts[requests * 3 + 1],
        drafts[requests * 3 + 2],
      ];
      if (edited) service.put(tenant, { ...edited, text: `It rained ${requests} times.` });
      if (gone) service.remove(tenant, gone);
      if (replaced) {
        service.remove(tenant, replaced);
        service.put(tenant, { ...replaced, title: "Another weir" });
      }
      service.put(tenant, { source_type: sourceTypes[requests % sourceTypes.length] ?? "lore" });
    });

    await sync(service, tenant);
    expect(requests).toBeGreaterThan(20);
    service.before(() => {});
    await sync(service, tenant);
    await expectSame(service, tenant);
    expect(await sync(service, tenant)).toMatchObject(nothing);
  });
});

describe("later", () => {
  test("takes in what changed, and takes out what is gone", async () => {
    const [service, tenant] = [await startMainService(), randomUUID()];
    const [kept, edited, moved, gone] = many(service, tenant, 4);
    const first = await sync(service, tenant);
    expect(await sync(service, tenant)).toEqual({ ...nothing, full: false, cursor: first?.cursor });

    service.put(tenant, { ...edited, text: "It snowed." });
    service.put(tenant, { ...moved, metadata: { order: 7 } });
    service.put(tenant, kept);
    service.put(tenant);
    if (gone) service.remove(tenant, gone);
    const past = service.put(tenant);
    service.remove(tenant, past);

    const requests = service.requests.length;
    const later = await sync(service, tenant);
    expect(later).toMatchObject({ created: 1, changed: 1, moved: 1, unchanged: 1, deleted: 1, full: false });
    expect(service.requests.slice(requests).filter(({ url }) => url.includes("entity-ids"))).toEqual([]);
    await expectSame(service, tenant);
    expect(await eventsOf(tenant, "entity.changed")).toBe(6);
    expect(await eventsOf(tenant, "entity.deleted")).toBe(1);
    expect(await cursorOf(tenant)).toBe(later?.cursor);
  });

  test("brings back what was deleted, under the next version", async () => {
    const [service, tenant] = [await startMainService(), randomUUID()];
    const scene = service.put(tenant);
    await sync(service, tenant);
    service.remove(tenant, scene);
    await sync(service, tenant);
    service.put(tenant, scene);

    expect(await sync(service, tenant)).toMatchObject({ created: 1 });
    expect(await stored(tenant)).toMatchObject([{ ...scene, version: 3 }]);
  });

  test("looks at all where that is asked for, and finds what was never told", async () => {
    const [service, tenant] = [await startMainService(), randomUUID()];
    const [, edited, gone] = many(service, tenant, 3);
    await sync(service, tenant);
    service.silently(() => {
      service.put(tenant, { ...edited, title: "Edited" });
      if (gone) service.remove(tenant, gone);
    });
    expect(await sync(service, tenant)).toMatchObject(nothing);

    expect(await sync(service, tenant, { full: true })).toMatchObject({
      full: true,
      changed: 1,
      unchanged: 1,
      deleted: 1,
    });
    await expectSame(service, tenant);
  });

  test("looks at all where the service has forgotten what changed", async () => {
    const [service, tenant] = [await startMainService(), randomUUID()];
    const [, gone] = many(service, tenant, 2);
    await sync(service, tenant);
    if (gone) service.remove(tenant, gone);
    service.put(tenant);
    service.forget();

    expect(await sync(service, tenant)).toMatchObject({ full: true, created: 1, deleted: 1 });
    await expectSame(service, tenant);
  });
});

describe("deletes", () => {
  test("only what the main service gave", async () => {
    const [service, tenant] = [await startMainService(), randomUUID()];
    const { pool, registry } = runtime(database);
    const [kept, imported] = many(service, tenant, 2);
    await sync(service, tenant);
    const another: Draft = { ...(kept ?? lost()), source_id: randomUUID() };
    const entities = [another, imported ?? lost()];
    await acceptEntities(pool, registry, { tenant_id: tenant, source: "file:weir.jsonl", entities });
    service.remove(tenant, imported ?? lost());

    expect(await sync(service, tenant)).toMatchObject({ deleted: 0 });
    expect(await sync(service, tenant, { full: true })).toMatchObject({ deleted: 0, unchanged: 1 });
    expect((await stored(tenant)).map(({ source_id }) => source_id).toSorted()).toEqual(
      [kept, another, imported].map((draft) => draft?.source_id).toSorted(),
    );
  });

  test("nothing that is only not listed, as by a list that skips", async () => {
    const [service, tenant] = [await startMainService(), randomUUID()];
    many(service, tenant, 5);
    await sync(service, tenant);
    service.alter((answer, path) =>
      path.includes("entity-ids") ? { ...answer, items: answer.items.slice(0, 2) } : answer,
    );

    expect(await sync(service, tenant, { full: true })).toMatchObject({ unchanged: 5, deleted: 0 });
    await expectSame(service, tenant);
  });

  test("nothing where the service has nothing at all, unless that is allowed", async () => {
    const [service, tenant] = [await startMainService(), randomUUID()];
    const drafts = many(service, tenant, 3);
    const { cursor } = (await sync(service, tenant)) ?? lost();
    service.silently(() => {
      for (const draft of drafts) service.remove(tenant, draft);
    });

    await expect(sync(service, tenant, { full: true })).rejects.toMatchObject({
      code: "SOURCE_REFUSED",
      message: expect.stringContaining("--allow-empty"),
    });
    expect(await stored(tenant)).toHaveLength(3);
    expect(await cursorOf(tenant)).toBe(cursor);

    expect(await sync(service, tenant, { full: true, allowEmpty: true })).toMatchObject({ deleted: 3 });
    expect(await stored(tenant)).toEqual([]);
  });

  test("and is content with a tenant that never had anything", async () => {
    expect(await sync(await startMainService(), randomUUID())).toMatchObject({ ...nothing, full: true });
  });
});

describe("rejects, counts and names", () => {
  test("what is too long, and leaves what is stored of it", async () => {
    const [service, tenant] = [await startMainService(), randomUUID()];
    const [scene] = many(service, tenant, 2);
    await sync(service, tenant, { maxTextChars: 100 });
    service.put(tenant, { ...scene, text: "x".repeat(101) });
    service.put(tenant);

    const reason = "text: expected at most 100 characters, got: 101";
    const rejections = [{ source_type: "scene", source_id: scene?.source_id, reason }];
    expect(await sync(service, tenant, { maxTextChars: 100 })).toMatchObject({
      created: 1,
      rejected: 1,
      rejections,
    });
    expect(await sync(service, tenant, { maxTextChars: 100 })).toMatchObject(nothing);
    expect(await sync(service, tenant, { full: true, maxTextChars: 100 })).toMatchObject({
      unchanged: 2,
      deleted: 0,
      rejected: 1,
    });
    expect(await stored(tenant)).toContainEqual(expect.objectContaining({ ...scene, version: 1 }));
  });

  test("no more than the first hundred by name", async () => {
    const [service, tenant] = [await startMainService(), randomUUID()];
    many(service, tenant, 120);
    const report = await sync(service, tenant, { maxTextChars: 1 });

    expect(report).toMatchObject({ created: 0, rejected: 120 });
    expect(report?.rejections).toHaveLength(100);
  });
});

test("stores what Postgres cannot, without it, and finds it unchanged the next time", async () => {
  const [service, tenant] = [await startMainService(), randomUUID()];
  service.put(tenant, { title: "a\u0000b", text: "c\ud800d", metadata: { "e\u0000": "f\udc00" } });
  await sync(service, tenant);

  expect(await stored(tenant)).toMatchObject([{ title: "ab", text: "c\ufffdd", metadata: { e: "f\ufffd" } }]);
  expect(await sync(service, tenant, { full: true })).toMatchObject({ unchanged: 1, changed: 0 });
});

test("takes in texts that together are more than one transaction", async () => {
  const [service, tenant] = [await startMainService(), randomUUID()];
  for (let at = 0; at < 7; at++) service.put(tenant, { text: "x".repeat(1_500_000) });

  expect(await sync(service, tenant, { maxTextChars: 2_000_000 })).toMatchObject({ created: 7 });
  await expectSame(service, tenant);
});

describe("goes on where it broke off", () => {
  const refusal = { kind: "status", status: 400 } as const;

  test.each([3, 5, 8, 11])("in the first walk, at request %i", async (broken) => {
    const [service, tenant] = [await startMainService(), randomUUID()];
    many(service, tenant, 1_100);
    let requests = 0;
    service.before(() => {
      requests++;
      if (requests === broken) service.fail(refusal);
    });

    await expect(sync(service, tenant)).rejects.toMatchObject({ code: "SOURCE_REFUSED" });
    expect(await cursorOf(tenant)).toBeUndefined();
    await sync(service, tenant);
    await expectSame(service, tenant);
    expect(new Set((await stored(tenant)).map(({ version }) => version))).toEqual(new Set([1]));
    expect(await eventsOf(tenant, "entity.changed")).toBe(1_100);
  });

  test("between two pages of changes, of which the first is kept", async () => {
    const [service, tenant] = [await startMainService(), randomUUID()];
    await sync(service, tenant);
    many(service, tenant, 1_100);
    const start = await cursorOf(tenant);
    let pages = 0;
    service.before((path) => {
      if (path.includes("changes") && ++pages === 2) service.fail(refusal);
    });

    await expect(sync(service, tenant)).rejects.toMatchObject({ code: "SOURCE_REFUSED" });
    expect(await stored(tenant)).toHaveLength(500);
    expect(await cursorOf(tenant)).not.toBe(start);
    expect(await sync(service, tenant)).toMatchObject({ created: 600, unchanged: 0 });
    await expectSame(service, tenant);
  });

  test("within a page, of which nothing is kept, nor its cursor", async () => {
    const [service, tenant] = [await startMainService(), randomUUID()];
    const gone = service.put(tenant);
    await sync(service, tenant);
    const cursor = await cursorOf(tenant);
    service.remove(tenant, gone);
    service.put(tenant);
    await database.pool.query(`
      create function refuse_cursor() returns trigger language plpgsql as $$
        begin raise exception 'no cursor today'; end $$;
      create trigger refuse_cursor before update on source_cursors for each row
        when (new.tenant_id = '${tenant}') execute function refuse_cursor()`);

    await expect(sync(service, tenant)).rejects.toThrow("no cursor today");
    expect(await stored(tenant)).toMatchObject([gone]);
    expect(await cursorOf(tenant)).toBe(cursor);
    expect(await eventsOf(tenant, "entity.deleted")).toBe(0);

    await database.pool.query("drop trigger refuse_cursor on source_cursors");
    expect(await sync(service, tenant)).toMatchObject({ created: 1, deleted: 1 });
    await expectSame(service, tenant);
  });

  test("when it was told to end", async () => {
    const [service, tenant] = [await startMainService(), randomUUID()];
    many(service, tenant, 1_100);
    const [stop, reason] = [new AbortController(), new Error("enough")];
    const onProgress = () => stop.abort(reason);

    await expect(sync(service, tenant, { onProgress, signal: stop.signal })).rejects.toBe(reason);
    const before = (await stored(tenant)).length;
    expect(before).toBeLessThan(1_100);
    expect(await sync(service, tenant)).toMatchObject({ unchanged: before, created: 1_100 - before });
  });

  test("when its connection was cut, after which it wrote nothing", async () => {
    const [service, tenant] = [await startMainService(), randomUUID()];
    many(service, tenant, 3);
    const held = gate();
    service.before((path) => (path.endsWith("/fetch") ? held.pass() : undefined));
    const cut = expect(sync(service, tenant)).rejects.toThrow(/terminat|connection/i);
    await held.reached;
    await database.pool.query(
      `select pg_terminate_backend(pid) from pg_locks
       where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())`,
    );
    await vi.waitUntil(async () => !(await isLocked()));
    held.open();
    await cut;

    expect(await stored(tenant)).toEqual([]);
    expect(await sync(service, tenant)).toMatchObject({ created: 3 });
  });

  async function isLocked(): Promise<boolean> {
    const { rows } = await database.pool.query(
      `select from pg_locks
       where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())`,
    );
    return rows.length > 0;
  }
});

test("leaves a tenant to whoever syncs it already", async () => {
  const [service, tenant, other] = [await startMainService(), randomUUID(), randomUUID()];
  many(service, tenant, 2);
  const held = gate();
  service.before((path) => (path.includes(tenant) ? held.pass() : undefined));
  const first = sync(service, tenant);
  await held.reached;

  expect(await sync(service, tenant)).toBeUndefined();
  expect(await sync(service, other)).toMatchObject(nothing);
  held.open();
  expect(await first).toMatchObject({ created: 2 });
  expect(await sync(service, tenant)).toMatchObject(nothing);
});

describe("comes to an end with a service that", () => {
  test("lists the same page under ever new cursors", async () => {
    const [service, tenant] = [await startMainService(), randomUUID()];
    many(service, tenant, 3);
    let page = 0;
    service.alter((answer, path) =>
      path.includes("type=scene")
        ? { items: service.entitiesOf(tenant).map(keyOf), next: `page-${page++}` }
        : answer,
    );

    await expectUnusable(sync(service, tenant), /same scene ids without end/);
  });

  test("leads its changes in a circle", async () => {
    const [service, tenant] = [await startMainService(), randomUUID()];
    many(service, tenant, 3);
    await sync(service, tenant);
    let page = 0;
    service.alter((answer, path) =>
      path.includes("since=")
        ? { changes: service.entitiesOf(tenant).map(keyOf), cursor: `change-${page++ % 3}`, more: true }
        : answer,
    );

    await expectUnusable(sync(service, tenant), /lead back/);
  });

  test("forgets its changes as soon as it has made them", async () => {
    const [service, tenant] = [await startMainService(), randomUUID()];
    service.before((path) => {
      if (!path.includes("since=")) return;
      service.put(tenant);
      service.forget();
    });

    await expectUnusable(sync(service, tenant), /forgets its changes/);
  });

  async function expectUnusable(work: Promise<unknown>, said: RegExp): Promise<void> {
    const error = await work.catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(LoregraphError);
    expect(error).toMatchObject({ code: "SOURCE_ANSWER_INVALID", message: expect.stringMatching(said) });
  }
});

const keyOf = ({ source_type, source_id }: Draft) => ({ source_type, source_id });

function lost(): never {
  throw new Error("expected an entity");
}

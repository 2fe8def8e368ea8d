import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { inspect } from "node:util";
import { gzipSync } from "node:zlib";
import { describe, expect, onTestFinished, test } from "vitest";
import { type ErrorCode, LoregraphError } from "../../src/errors.ts";
import { sourceTypes } from "../../src/pipeline.ts";
import type { EntitySource, IdPage } from "../../src/sources/entity-source.ts";
import { type MainServiceOptions, openMainService } from "../../src/sources/main-service.ts";
import {
  type Fault,
  type MainServiceDouble,
  mainServiceKey,
  startMainService,
} from "../support/main-service.ts";

/** Stands in every entity, so that tests can look for it in what is thrown. */
const secret = "Rumpelstiltskin";
const tenant = randomUUID();
const other = randomUUID();

function sourceOf(
  service: Pick<MainServiceDouble, "url">,
  options: Partial<MainServiceOptions> = {},
): EntitySource {
  const { url } = service;
  return openMainService({
    url,
    key: mainServiceKey,
    maxTextChars: 1_000,
    retries: 2,
    backoffMs: 1,
    ...options,
  });
}

/** What `work` was refused with. Whatever it is, it must keep the key and the content to itself. */
async function refusalOf(work: Promise<unknown>): Promise<LoregraphError> {
  const error = await work.then(
    (answer) => expect.unreachable(`it answered ${JSON.stringify(answer)}`),
    (thrown: unknown) => thrown,
  );
  const all = `${inspect(error, { depth: 20, showHidden: true })} ${JSON.stringify(error)}`;
  expect(all).not.toContain(secret);
  expect(all).not.toContain(mainServiceKey);
  if (error instanceof LoregraphError) return error;
  throw error;
}

const scenes = (service: MainServiceDouble, count: number, tenant_id = tenant) =>
  Array.from({ length: count }, (_, at) => service.put(tenant_id, { title: `Scene ${at}`, text: secret }));

const keyOf = ({ source_type, source_id }: { source_type: string; source_id: string }) => ({
  source_type,
  source_id,
});

describe("lists ids", () => {
  test("page by page, of one type or of all, and of one tenant", async () => {
    const service = await startMainService();
    const expected = scenes(service, 5).map(keyOf);
    const lore = service.put(tenant, { source_type: "lore" });
    scenes(service, 2, other);
    const source = sourceOf(service);

    const seen = [];
    let cursor: string | undefined;
    do {
      const page: IdPage = await source.listIds(tenant, "scene", cursor, 2);
      expect(page.keys.length).toBeLessThanOrEqual(2);
      seen.push(...page.keys);
      cursor = page.next ?? undefined;
    } while (cursor !== undefined);

    expect(seen).toHaveLength(5);
    expect(seen).toEqual(expect.arrayContaining(expected));
    expect((await source.listIds(tenant, undefined, undefined, 100)).keys).toContainEqual(keyOf(lore));
    expect(await source.listIds(randomUUID(), "scene", undefined, 2)).toEqual({
      keys: [],
      next: null,
      rejected: [],
    });
  });

  test("with ids in lower case, whatever the service writes", async () => {
    const service = await startMainService();
    const [scene] = scenes(service, 1);
    service.alter(({ items, ...rest }) => ({
      ...rest,
      items: items.map((item: { source_id: string }) => ({
        ...item,
        source_id: item.source_id.toUpperCase(),
      })),
    }));

    expect((await sourceOf(service).listIds(tenant, "scene", undefined, 10)).keys).toEqual([
      keyOf(scene ?? lost()),
    ]);
  });
});

function lost(): never {
  throw new Error("expected an entity");
}

describe("fetches entities", () => {
  test("in batches of a hundred, each once, no more at a time than it may", async () => {
    const service = await startMainService();
    const drafts = scenes(service, 430);
    const unknown = { source_type: "lore" as const, source_id: randomUUID() };
    const [open, most] = [new Set<symbol>(), { open: 0 }];
    service.before(async () => {
      const mine = Symbol("request");
      open.add(mine);
      most.open = Math.max(most.open, open.size);
      await new Promise((resolve) => setImmediate(resolve));
      open.delete(mine);
    });

    const fetched = await sourceOf(service, { concurrency: 2 }).fetchEntities(tenant, [
      ...drafts.map(({ source_type, source_id }) => ({ source_type, source_id })),
      unknown,
      unknown,
    ]);

    expect(fetched.entities).toEqual(drafts);
    expect(fetched.missing).toEqual([unknown]);
    const asked = service.requests.map(({ body }) => (body as { keys: unknown[] }).keys.length);
    expect(asked.toSorted((a, b) => b - a)).toEqual([100, 100, 100, 100, 31]);
    expect(most.open).toBe(2);
  });

  test("and asks for nothing where nothing is wanted", async () => {
    const service = await startMainService();

    expect(await sourceOf(service).fetchEntities(tenant, [])).toEqual({
      entities: [],
      missing: [],
      rejected: [],
    });
    expect(service.requests).toEqual([]);
  });

  test("and rejects, alone, what is too long or too deep", async () => {
    const service = await startMainService();
    const fit = service.put(tenant, { text: "x".repeat(1_000) });
    const long = service.put(tenant, { text: "x".repeat(1_001) });
    const deep = service.put(tenant, { metadata: nested(101) });
    const deepest = service.put(tenant, { metadata: nested(100) });

    const { entities, rejected } = await sourceOf(service).fetchEntities(tenant, [fit, long, deep, deepest]);

    expect(entities).toEqual([fit, deepest]);
    expect(rejected).toEqual([
      { ...keyOf(long), reason: "text: expected at most 1000 characters, got: 1001" },
      { ...keyOf(deep), reason: "metadata: expected at most 100 levels, got: more" },
    ]);
  });

  test("in smaller batches where the answer would be too large", async () => {
    const service = await startMainService();
    const drafts = Array.from({ length: 8 }, () => service.put(tenant, { text: "x".repeat(10_000) }));
    const huge = service.put(tenant, { text: "x".repeat(40_000) });
    const source = sourceOf(service, { maxTextChars: 100_000, maxAnswerBytes: 32_000 });

    const { entities, rejected, missing } = await source.fetchEntities(tenant, [...drafts, huge]);

    expect(entities).toEqual(expect.arrayContaining(drafts));
    expect(entities).toHaveLength(8);
    expect(missing).toEqual([]);
    expect(rejected).toEqual([{ ...keyOf(huge), reason: expect.stringContaining("fits into one answer") }]);
  });

  test("and asks no further once a batch has failed", async () => {
    const service = await startMainService();
    const drafts = scenes(service, 1_000);
    service.fail({ kind: "status", status: 400 });

    const refusal = await refusalOf(sourceOf(service, { concurrency: 1 }).fetchEntities(tenant, drafts));

    expect(refusal.code).toBe("SOURCE_REFUSED");
    expect(service.requests.length).toBeLessThanOrEqual(1);
  });
});

/** An object with so many levels. */
function nested(levels: number): Record<string, unknown> {
  let value: Record<string, unknown> = {};
  for (let at = 1; at < levels; at++) value = { value };
  return value;
}

describe("lists changes", () => {
  test("after a cursor, to the end, each entity once a page", async () => {
    const service = await startMainService();
    const source = sourceOf(service);
    scenes(service, 3);
    const now = await source.changesSince(tenant, undefined, 10);
    expect(now).toMatchObject({ keys: [], more: false });

    const scene = service.put(tenant);
    service.put(tenant, scene);
    service.put(other);
    service.remove(tenant, scene);
    const lore = service.put(tenant, { source_type: "lore" });

    const first = await source.changesSince(tenant, now?.cursor, 3);
    expect(first).toMatchObject({ keys: [keyOf(scene)], more: true });
    const last = await source.changesSince(tenant, first?.cursor, 3);
    expect(last).toMatchObject({ keys: [keyOf(lore)], more: false });
    expect(await source.changesSince(tenant, last?.cursor, 3)).toEqual({ ...last, keys: [] });
  });

  test("and says so where the service has forgotten them", async () => {
    const service = await startMainService();
    const source = sourceOf(service);
    const now = await source.changesSince(tenant, undefined, 10);
    service.put(tenant);
    service.forget();

    expect(await source.changesSince(tenant, now?.cursor, 10)).toBeUndefined();
  });

  test("and rejects, alone, what is of a type that we do not know", async () => {
    const service = await startMainService();
    const lore = service.put(tenant, { source_type: "lore" });
    const id = randomUUID();
    service.alter((answer) => ({
      ...answer,
      changes: [
        { source_type: "charcter", source_id: id },
        { source_type: "invoice", source_id: id },
        ...answer.changes,
      ],
    }));

    expect(await sourceOf(service).changesSince(tenant, "change-0", 10)).toMatchObject({
      keys: [keyOf(lore)],
      rejected: [
        { source_id: id, reason: "source_type: unknown type charcter, did you mean character?" },
        { source_id: id, reason: "source_type: unknown type invoice" },
      ],
    });
  });
});

describe("tries again", () => {
  const faults: readonly [string, Fault][] = [
    ["408", { kind: "status", status: 408 }],
    ["429", { kind: "status", status: 429 }],
    ["500", { kind: "status", status: 500 }],
    [
      "503 with a page of HTML",
      { kind: "status", status: 503, body: "<html>", headers: { "content-type": "text/html" } },
    ],
    ["599", { kind: "status", status: 599 }],
    ["a connection that is cut", { kind: "cut" }],
    ["an answer that breaks off", { kind: "cut", after: '{"items":[' }],
    ["silence", { kind: "silent" }],
    ["silence in the middle of an answer", { kind: "silent", after: '{"items":[' }],
  ];

  test.each(faults)("after %s", async (_, fault) => {
    const service = await startMainService();
    const [scene] = scenes(service, 1);
    const source = sourceOf(service, { timeoutMs: 300, retries: 5 });

    service.fail(fault, fault);
    expect(await source.listIds(tenant, "scene", undefined, 10)).toMatchObject({
      keys: [keyOf(scene ?? lost())],
    });
    service.fail(fault);
    expect(await source.fetchEntities(tenant, [scene ?? lost()])).toMatchObject({ entities: [scene] });
  });

  test.each(faults)("so often, then says that the service is away: %s", async (_, fault) => {
    const service = await startMainService();
    service.fail(fault, fault, fault);
    const refusal = await refusalOf(
      sourceOf(service, { timeoutMs: 100 }).listIds(tenant, "scene", undefined, 10),
    );

    expect(refusal.code).toBe("SOURCE_UNAVAILABLE");
    expect(refusal.message).toContain(`GET /tenants/${tenant}/entity-ids?type=scene&limit=10`);
    expect(service.requests).toEqual([]);
  });

  test.each([
    ["seconds", () => "1"],
    // A date has whole seconds: two from now are at least one from now.
    ["a date", () => new Date(Date.now() + 2_000).toUTCString()],
  ])("when Retry-After says, in %s", async (_, retryAfter) => {
    const service = await startMainService();
    const start = performance.now();
    service.fail({ kind: "status", status: 429, headers: { "retry-after": retryAfter() } });
    await sourceOf(service).listIds(tenant, "scene", undefined, 10);

    expect(performance.now() - start).toBeGreaterThan(900);
  });

  test("before that where it is too far away, and tells when it would be time", async () => {
    const service = await startMainService();
    const fault: Fault = { kind: "status", status: 503, headers: { "retry-after": "3600" } };
    const source = sourceOf(service, { retries: 1, retryAfterMs: 10 });
    service.fail(fault);
    await source.listIds(tenant, "scene", undefined, 10);
    service.fail(fault, fault);
    const { after, code } = await refusalOf(source.listIds(tenant, "scene", undefined, 10));

    expect(code).toBe("SOURCE_UNAVAILABLE");
    expect((after?.getTime() ?? 0) - Date.now()).toBeGreaterThan(3_500_000);
    expect((after?.getTime() ?? 0) - Date.now()).toBeLessThanOrEqual(3_600_000);
  });

  test.each(["soon", "-1", "99999999999999999999"])("though Retry-After says %s", async (retryAfter) => {
    const service = await startMainService();
    service.fail({ kind: "status", status: 429, headers: { "retry-after": retryAfter } });

    expect(
      await sourceOf(service, { retryAfterMs: 10 }).listIds(tenant, "scene", undefined, 10),
    ).toMatchObject({
      keys: [],
    });
  });
});

describe("takes no for an answer", () => {
  test.each([400, 401, 403, 404, 409, 410, 413, 422])("%i, at once", async (status) => {
    const service = await startMainService();
    const title = `${mainServiceKey} may not\nread it`;
    service.fail({ kind: "status", status, body: JSON.stringify({ title, status }) }, { kind: "cut" });
    const refusal = await refusalOf(sourceOf(service).listIds(tenant, "scene", undefined, 10));

    expect(refusal.code).toBe("SOURCE_REFUSED");
    expect(refusal.message).toBe(
      `the main service answered ${status} to GET /tenants/${tenant}/entity-ids?type=scene&limit=10: [key] may not read it`,
    );
  });

  test("to a wrong key, or to none", async () => {
    const service = await startMainService();
    for (const key of [undefined, "another"]) {
      const refusal = await refusalOf(sourceOf(service, { key }).listIds(tenant, "scene", undefined, 10));
      expect(refusal.code).toBe("SOURCE_REFUSED");
    }
    expect(service.requests.map(({ key }) => key)).toEqual([undefined, "Bearer another"]);
  });
});

test("says that the service is away where nothing listens", async () => {
  const service = await startMainService();
  await service.app.close();
  const refusal = await refusalOf(sourceOf(service).listIds(tenant, "scene", undefined, 10));

  expect(refusal).toMatchObject({
    code: "SOURCE_UNAVAILABLE",
    message: expect.stringContaining("ECONNREFUSED"),
  });
});

test("follows no redirect, so that nobody else is given the key", async () => {
  const service = await startMainService();
  const thief = await startMainService();
  for (const status of [301, 302, 303, 307, 308]) {
    service.fail({
      kind: "status",
      status,
      headers: { location: `${thief.url}/tenants/${tenant}/entity-ids?limit=10` },
    });
    const refusal = await refusalOf(sourceOf(service).listIds(tenant, "scene", undefined, 10));
    expect(refusal).toMatchObject({
      code: "SOURCE_ANSWER_INVALID",
      message: expect.stringContaining("redirect"),
    });
  }
  expect(thief.requests).toEqual([]);
});

test("keeps its connection between requests, and uses the path of its URL", async () => {
  const paths: (string | undefined)[] = [];
  const connections = new Set<unknown>();
  const url = await serve((request, response) => {
    connections.add(request.socket);
    paths.push(request.url);
    response.end('{"items":[],"next":null}');
  });
  const source = sourceOf({ url: `${url}/api/v1/` });
  for (let at = 0; at < 20; at++) await source.listIds(tenant, "scene", undefined, 10);

  // The next request may be sent before the last one's connection is seen to be free.
  expect(connections.size).toBeLessThanOrEqual(2);
  expect(new Set(paths)).toEqual(new Set([`/api/v1/tenants/${tenant}/entity-ids?type=scene&limit=10`]));
});

async function serve(listener: RequestListener): Promise<string> {
  const server = createServer(listener).listen(0, "127.0.0.1");
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  await new Promise((resolve) => server.once("listening", resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

describe("refuses a body that is too large", () => {
  const large = (bytes: string | Buffer, headers: Record<string, string>): Fault => ({
    kind: "bytes",
    bytes,
    headers,
  });
  const text = JSON.stringify({ items: [], next: null, more: secret.repeat(10_000) });

  test.each([
    ["that says so", large(text, { "content-length": String(text.length) })],
    ["that does not say so", large(text, { "transfer-encoding": "chunked" })],
    ["that was small while it was compressed", large(gzipSync(text), { "content-encoding": "gzip" })],
  ])("%s", async (_, fault) => {
    const service = await startMainService();
    service.fail(fault);
    const source = sourceOf(service, { maxAnswerBytes: 10_000 });
    const refusal = await refusalOf(source.listIds(tenant, "scene", undefined, 10));

    expect(refusal).toMatchObject({
      code: "SOURCE_ANSWER_INVALID",
      message: expect.stringMatching(/GET .*expected a body of at most 10000 bytes/),
    });
  });

  test("without waiting for its end", async () => {
    const closed = Promise.withResolvers<void>();
    const url = await serve((_, response) => {
      response.on("close", closed.resolve);
      const more = () => response.write(Buffer.alloc(65_536, " "), (error) => !error && more());
      more();
    });
    const refusal = await refusalOf(sourceOf({ url }).listIds(tenant, "scene", undefined, 10));

    expect(refusal.code).toBe("SOURCE_ANSWER_INVALID");
    await closed.promise;
  });
});

describe("refuses, at once and by its place, an answer that is", () => {
  const listing = (source: EntitySource) => source.listIds(tenant, "scene", "scene 0", 3);

  test.each([
    ["empty", ""],
    ["a page for people", `<html>${secret}</html>`],
    ["cut short", `{"items":[{"source_type":"${secret}`],
    ["not UTF-8", Buffer.from([0x22, 0xff, 0xfe, 0x22])],
    ["of another kind", `"${secret}"`],
    ["null", "null"],
    ["a list", "[]"],
    ["nested without end", `{"items":${"[".repeat(200_000)}`],
    ["in the shape of a problem", `{"title":"${secret}","status":200}`],
  ])("%s", async (_, bytes) => {
    const service = await startMainService();
    service.fail({ kind: "bytes", bytes }, { kind: "cut" });
    const refusal = await refusalOf(listing(sourceOf(service)));

    expectInvalid(refusal, /expected/);
    expect(refusal.message).toContain(`GET /tenants/${tenant}/entity-ids?type=scene&cursor=scene+0&limit=3`);
  });

  type Broken = readonly [what: string, said: RegExp, change: (answer: Answer) => unknown];

  test.each<Broken>([
    ["without items", /wrong: items: .*expected array/, ({ items: _, ...rest }) => rest],
    ["with items that are no list", /items: .*expected array/, (answer) => ({ ...answer, items: {} })],
    ["with an item that is no key", /items\[0\]: .*expected object/, set("items", [secret])],
    ["with an id that is none", /items\[1\]\.source_id: expected a uuid/, first({ source_id: secret })],
    ["with an id that is a number", /items\[1\]\.source_id: expected a uuid/, first({ source_id: 7 })],
    ["with a type that is none", /items\[1\]\.source_type: .*expected string/, first({ source_type: null })],
    ["of a type not asked for", /items\[1\]\.source_type: expected scene/, first({ source_type: "lore" })],
    [
      "with an id twice",
      /items: expected each id once/,
      ({ items: [one], ...rest }) => ({ ...rest, items: [one, one] }),
    ],
    [
      "with more than was asked for",
      /items: expected at most 3, got: 4/,
      ({ items: [one] }) => ({ items: [one, one, one, one], next: null }),
    ],
    ["without a next page or its end", /next: /, ({ next: _, ...rest }) => rest],
    ["with a next page that is a number", /next: .*expected string/, set("next", 3)],
    ["with a next page that is nowhere", /next: /, set("next", "")],
    ["with a next page that is too long", /next: /, set("next", "x".repeat(1_001))],
    ["with a next page that no database can hold", /next: expected no NUL/, set("next", "a\0b")],
    ["the page before the same one", /expected a cursor that moves on/, set("next", "scene 0")],
    ["empty, with another to come", /items: expected at least one/, () => ({ items: [], next: "more" })],
  ])("of ids, %s", async (_, said, change) => {
    const service = await startMainService();
    scenes(service, 2);
    service.alter(change);
    expectInvalid(await refusalOf(listing(sourceOf(service))), said);
  });

  test.each<Broken>([
    ["without entities", /entities: .*expected array/, ({ entities: _, ...rest }) => rest],
    ["without what is missing", /missing: .*expected array/, ({ missing: _, ...rest }) => rest],
    ["with a title that is none", /entities\[1\]\.title: .*expected string/, entity({ title: null })],
    ["without a text", /entities\[1\]\.text: .*expected string/, entity({ text: undefined })],
    ["with a text that is a list", /entities\[1\]\.text: .*expected string/, entity({ text: [secret] })],
    [
      "with metadata that is a list",
      /entities\[1\]\.metadata: .*expected record/,
      entity({ metadata: [secret] }),
    ],
    ["without a tenant", /entities\[1\]\.tenant_id: expected a uuid/, entity({ tenant_id: undefined })],
    [
      "of another tenant",
      /entities\[1\]\.tenant_id: expected the tenant that was asked for/,
      entity({ tenant_id: other }),
    ],
    ["of another entity", /entities\[1\]: expected what was asked for/, entity({ source_id: randomUUID() })],
    ["of another type", /entities\[1\]: expected what was asked for/, entity({ source_type: "lore" })],
    [
      "of one entity twice",
      /entities\[2\]: .* once/,
      ({ entities, ...rest }) => ({ ...rest, entities: [...entities, entities[0]] }),
    ],
    [
      "of one that is missing too",
      /missing\[1\]: .* once/,
      ({ entities, missing }) => ({ entities, missing: [...missing, keyOf(entities[0])] }),
    ],
    [
      "of less than was asked for",
      /got 1 in neither, such as scene /,
      ({ entities, missing }) => ({ entities: entities.slice(1), missing }),
    ],
    [
      "with somebody else missing",
      /missing\[1\]: expected what was asked for/,
      ({ entities, missing }) => ({
        entities,
        missing: [...missing, { source_type: "lore", source_id: randomUUID() }],
      }),
    ],
  ])("of entities, %s", async (_, said, change) => {
    const service = await startMainService();
    const drafts = scenes(service, 2);
    service.alter(change);
    const keys = [...drafts, { source_type: "lore" as const, source_id: randomUUID() }];
    const refusal = await refusalOf(sourceOf(service).fetchEntities(tenant, keys));

    expectInvalid(refusal, said);
    expect(refusal.message).toContain(`POST /tenants/${tenant}/entities/fetch`);
  });

  test.each<Broken>([
    ["without changes", /changes: .*expected array/, ({ changes: _, ...rest }) => rest],
    ["with a change that is no key", /changes\[0\]: .*expected object/, set("changes", [null])],
    ["without a cursor", /cursor: .*expected string/, ({ cursor: _, ...rest }) => rest],
    ["with an empty cursor", /cursor: /, set("cursor", "")],
    ["that does not say whether there is more", /more: .*expected boolean/, ({ more: _, ...rest }) => rest],
    [
      "with more to come after the same place",
      /expected a cursor that moves on/,
      (answer) => ({ ...answer, cursor: "change-0", more: true }),
    ],
    [
      "empty, with more to come",
      /changes: expected at least one/,
      (answer) => ({ ...answer, changes: [], more: true }),
    ],
    [
      "with more than was asked for",
      /changes: expected at most 2, got: 3/,
      ({ changes: [one], ...rest }) => ({ ...rest, changes: [one, one, one] }),
    ],
  ])("of changes, %s", async (_, said, change) => {
    const service = await startMainService();
    scenes(service, 2);
    service.alter(change);
    expectInvalid(await refusalOf(sourceOf(service).changesSince(tenant, "change-0", 2)), said);
  });

  function expectInvalid(refusal: LoregraphError, said: RegExp): void {
    expect(refusal.code).toBe("SOURCE_ANSWER_INVALID" satisfies ErrorCode);
    expect(refusal.message).toMatch(said);
  }
});

// biome-ignore lint/suspicious/noExplicitAny: answers are broken in every way there is
type Answer = any;

const set = (field: string, value: unknown) => (answer: Answer) => ({ ...answer, [field]: value });

/** Breaks the second item of a page of ids. */
const first = (broken: object) => (answer: Answer) => ({
  ...answer,
  items: answer.items.map((item: object, at: number) => (at === 1 ? { ...item, ...broken } : item)),
});

/** Breaks the second of two entities. */
const entity = (broken: object) => (answer: Answer) => ({
  ...answer,
  entities: answer.entities.map((each: object, at: number) => (at === 1 ? { ...each, ...broken } : each)),
});

describe("ends with its signal's reason", () => {
  test.each([
    ["before it asks", undefined],
    ["while it waits for an answer", { kind: "silent" } satisfies Fault],
    [
      "while it waits to try again",
      { kind: "status", status: 429, headers: { "retry-after": "60" } } satisfies Fault,
    ],
  ])("%s", async (_, fault) => {
    const service = await startMainService();
    const [stop, reason] = [new AbortController(), new Error("enough")];
    if (fault) {
      service.fail(fault);
      service.before(() => setImmediate(() => stop.abort(reason)));
    } else stop.abort(reason);

    await expect(sourceOf(service).listIds(tenant, "scene", undefined, 10, stop.signal)).rejects.toBe(reason);
    await expect(sourceOf(service).fetchEntities(tenant, scenes(service, 1), stop.signal)).rejects.toBe(
      reason,
    );
  });
});

describe("refuses settings that cannot work", () => {
  test.each([
    "main-service:8080",
    "ftp://main-service",
    `http://me:${secret}@main-service`,
    `http://main-service/?key=${secret}`,
    "http://main-service/#top",
  ])("such as the URL %s", async (url) => {
    const refusal = await refusalOf(Promise.resolve().then(() => sourceOf({ url })));
    expect(refusal).toMatchObject({
      code: "CONFIG_INVALID",
      message: expect.stringContaining("MAIN_SERVICE_URL"),
    });
  });

  test.each([`${secret}\n`, `${secret} ${secret}`, `${secret}ü`, ""])(
    "such as a key that no header can carry",
    async (key) => {
      const refusal = await refusalOf(
        Promise.resolve().then(() => sourceOf({ url: "http://localhost" }, { key })),
      );
      expect(refusal).toMatchObject({
        code: "CONFIG_INVALID",
        message: expect.stringContaining("MAIN_SERVICE_KEY"),
      });
    },
  );
});

test("the contract names the source types that there are", () => {
  const { components } = JSON.parse(readFileSync("docs/main-service.openapi.json", "utf8"));

  expect(components.schemas.SourceType.enum).toEqual(sourceTypes);
});

/** Every route is sent what a hostile caller sends; so are those that are added later. */

import fc from "fast-check";
import pLimit from "p-limit";
import { afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { listen } from "../../src/http/listen.ts";
import { loadRegistry } from "../../src/registry.ts";
import type { Context } from "../../src/worker/context.ts";
import { complaintAbout, rowsOf, send } from "../support/answers.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import {
  badKeys,
  disguised,
  hostileBodies,
  hostileHeaders,
  hostilePaths,
  hostileQueries,
  withParameter,
  withPart,
} from "../support/hostile.ts";
import { openTestApp, type TestApp, testSettings } from "../support/http.ts";
import { type Operation, operationsOf } from "../support/operations.ts";
import { runtime } from "../support/runtime.ts";
import {
  type Belongings,
  type Request,
  settle,
  validPartsOf,
  validRequest,
} from "../support/valid-requests.ts";

/** Stands in all that the other tenant has. */
const marker = "the-drowned-bell";

let database: TestDatabase;
let context: Context;
let api: TestApp;
let port: number;
let operations: readonly Operation[];
let foreign: Belongings;
let before: unknown;

beforeAll(async () => {
  database = await testDatabase();
  context = { ...runtime(database), registry: await loadRegistry() };
  api = await openTestApp(context);
  ({ port } = await listen(api.app, testSettings));
  operations = await operationsOf(api);
  foreign = await settle(context, api.foreign, marker);
});

/** What nobody may change: the rows of another tenant, and that there are tables at all. */
async function untouchable() {
  const { rows } = await database.pool.query(
    "select tablename from pg_tables where schemaname = 'loregraph' order by 1",
  );
  return { tables: rows, foreign: await rowsOf(context, api.foreign) };
}

beforeEach(async () => {
  await settle(context, api.tenant, "own");
  before = await untouchable();
});
afterEach(async () => {
  expect(await untouchable()).toEqual(before);
  expect({}).not.toHaveProperty("polluted");
});

const isWrite = ({ method }: Operation) => method !== "GET" && method !== "HEAD";
const tokenFor = ({ scope }: Operation) => (scope === "admin" ? api.keys.admin : api.keys.write);

/** Sends requests, some at a time, and says of each answer what is wrong with it. */
async function complaints(requests: readonly Request[], token?: string): Promise<readonly string[]> {
  const limit = pLimit(6);
  const found = await Promise.all(
    requests.map((request) =>
      limit(async () => {
        const answer = await send(port, request, token);
        const complaint = answer.body.includes(marker)
          ? "it shows another tenant's"
          : complaintAbout(request, answer);
        return complaint === undefined ? [] : [`${said(request)}: ${complaint}`];
      }),
    ),
  );
  return found.flat();
}

function said({ method, path, headers, body = "" }: Request): string {
  const sent = [method, path, JSON.stringify(headers), String(body)].map((part) => part?.slice(0, 200));
  return sent.join(" ");
}

/**
 * The complaints about all that is sent to each route. Each that writes has belongings of its own. A HEAD is answered
 * as its GET: it is sent a part of that.
 */
async function complaintsOfEach(
  those: readonly Operation[],
  requests: (operation: Operation, own: Belongings) => readonly Request[],
  token = tokenFor,
): Promise<readonly string[]> {
  const found: string[] = [];
  let own = await settle(context, api.tenant, "own");
  for (const operation of those) {
    const all = requests(operation, own);
    const sent = operation.method === "HEAD" ? all.filter((_, nth) => nth % 7 === 0) : all;
    found.push(...(await complaints(sent, token(operation))));
    if (isWrite(operation)) own = await settle(context, api.tenant, "own");
  }
  return found;
}

describe("the valid request of each route", () => {
  test("has all that its query and its body may have", () => {
    const lacking = operations.flatMap((operation) => {
      const { query = {}, body = {} } = validPartsOf(operation, foreign);
      const text = JSON.stringify(body);
      const fields = [...operation.fields].filter((name) => !text.includes(`"${name}":`));
      const names = operation.query.filter((name) => !(name in query));
      return [...fields, ...names].map((name) => `${operation.method} ${operation.url}: ${name}`);
    });

    expect(lacking).toEqual([]);
  });

  test("is understood", async () => {
    const refused: string[] = [];
    for (const operation of operations) {
      const own = await settle(context, api.tenant, "own");
      const request = validRequest(operation, own);
      const { status, body } = await send(port, request, tokenFor(operation));
      if (status >= 400 && status !== 409) refused.push(`${said(request)} ${status} ${body}`);
    }

    expect(refused).toEqual([]);
  });
});

/** Milliseconds for a sweep over all routes, which takes a few seconds where nothing else goes on. */
const sweepMs = 90_000;

describe("nothing that is hostile breaks a route, shows what is inside or reaches another tenant:", {
  timeout: sweepMs,
}, () => {
  test("no path", async () => {
    const paths = (operation: Operation, own: Belongings) => hostilePaths(operation, own, foreign);

    expect(await complaintsOfEach(operations, paths, () => api.keys.admin)).toEqual([]);
  });

  test("no query", async () => {
    expect(await complaintsOfEach(operations, hostileQueries)).toEqual([]);
  });

  test("no header", async () => {
    expect(await complaintsOfEach(operations, hostileHeaders)).toEqual([]);
  });

  test("no body", async () => {
    expect(await complaintsOfEach(operations.filter(isWrite), hostileBodies)).toEqual([]);
  });

  test("no value that nobody thought of", async () => {
    const own = await settle(context, api.tenant, "own");
    const writes = operations.filter(({ fields, url }) => fields.size > 0 && url !== forAllTenants);
    const reads = operations.filter(({ query }) => query.length > 0);
    const Body = fc
      .record({ operation: fc.constantFrom(...writes), nth: fc.nat(), value: fc.jsonValue() })
      .map(({ operation, nth, value }) => ({ operation, request: withPart(operation, own, nth, value) }));
    const Query = fc
      .record({ operation: fc.constantFrom(...reads), nth: fc.nat(), text: fc.string({ unit: "binary" }) })
      .map(({ operation, nth, text }) => ({ operation, request: withParameter(operation, own, nth, text) }));

    await fc.assert(
      fc.asyncProperty(fc.oneof(Body, Query), async ({ operation, request }) => {
        expect(await complaints([request], tokenFor(operation))).toEqual([]);
      }),
      { numRuns: 500 },
    );
  });
});

/** An administrator may redrive the dead letters of all tenants: `{}`, which chance finds too, asks for just that. */
const forAllTenants = "/admin/dead-letters/redrive";

test("no header makes a read a write", async () => {
  const own = await settle(context, api.tenant, "own");
  const rows = await rowsOf(context, api.tenant);
  const reads = operations.filter((operation) => !isWrite(operation));
  for (const operation of reads) await complaints(disguised(operation, own), tokenFor(operation));

  expect(await rowsOf(context, api.tenant)).toEqual(rows);
});

test("no bad key opens a route", async () => {
  const { expired, revoked, malformed, write } = api.keys;
  const own = await settle(context, api.tenant, "own");
  const rows = await rowsOf(context, api.tenant);
  const opened: string[] = [];
  for (const operation of operations.filter(({ scope }) => scope !== "open")) {
    for (const authorization of badKeys([expired, revoked, malformed], write)) {
      const request = validRequest(operation, own);
      const answer = await send(port, { ...request, headers: { ...request.headers, authorization } });
      const complaint = complaintAbout(request, answer);
      if (answer.status !== 401 || complaint) opened.push(`${said(request)}: ${answer.status} ${complaint}`);
    }
  }

  expect(opened).toEqual([]);
  expect(await rowsOf(context, api.tenant)).toEqual(rows);
});

describe("what is too much", () => {
  const put = async (body: string) => {
    const path = `/tenants/${api.tenant}/entities`;
    const headers = { "content-type": "application/json" };
    const { status, body: answer } = await send(port, { method: "PUT", path, headers, body }, api.keys.write);
    return { status, length: answer.length, ...JSON.parse(answer) };
  };
  const entity = (metadata: string) =>
    `{"entities":[{"source_type":"lore","source_id":"${foreign.source_id}","metadata":${metadata}}]}`;

  test("of values is refused before they are checked", async () => {
    expect(await put(entity(`{"list":[${"1,".repeat(1_000_000)}1]}`))).toMatchObject({
      status: 413,
      code: "BODY_TOO_LARGE",
      detail: "expected a body of at most 100000 values",
    });
  });

  test("of levels is refused, in metadata too", async () => {
    const deep = `{"a":${"[".repeat(99_000)}${"]".repeat(99_000)}}`;

    expect(await put(entity(deep))).toMatchObject({
      status: 400,
      detail: "body/entities/0/metadata: expected at most 100 levels",
    });
  });

  test("of metadata is refused, as it would stand in every list", async () => {
    const metadata = (length: number) => JSON.stringify({ note: "x".repeat(length - '{"note":""}'.length) });

    expect(await put(entity(metadata(65_537)))).toMatchObject({
      status: 400,
      detail: "body/entities/0/metadata: expected at most 65536 characters of JSON",
    });
    expect(await put(entity(metadata(65_536)))).toMatchObject({ status: 200 });
  });

  test("of mistakes is named in part", async () => {
    const { errors, length } = await put(`{"entities":[${"1,".repeat(499)}1],"${"x".repeat(9_000)}":1}`);

    expect(errors).toHaveLength(20);
    expect(length).toBeLessThan(20_000);
  });
});

describe("what a route does not read is refused:", () => {
  test.each([
    ["a body", "POST", "pause", '{"for":"a day"}', "body: expected none, as this route reads none"],
    ["a list", "POST", "pause", "[]", "body: expected none, as this route reads none"],
    ["a query", "GET", "?limit=1", undefined, "querystring: expected none, as this route reads none"],
  ])("%s", async (_, method, more, body, detail) => {
    const path = `/admin/tenants/${api.tenant}${more.startsWith("?") ? "" : "/"}${more}`;
    const headers = body === undefined ? {} : { "content-type": "application/json" };
    const answer = await send(port, { method, path, headers, ...(body && { body }) }, api.keys.write);

    expect(JSON.parse(answer.body)).toMatchObject({ status: 400, code: "INPUT_INVALID", detail });
  });

  test("but not an empty object, nor a query of what is open", async () => {
    const headers = { "content-type": "application/json" };
    const path = `/admin/tenants/${api.tenant}/pause`;

    expect(await send(port, { method: "POST", path, headers, body: "{}" }, api.keys.write)).toMatchObject({
      status: 200,
    });
    expect(await send(port, { method: "GET", path: "/healthz?now=1" })).toMatchObject({ status: 200 });
  });
});

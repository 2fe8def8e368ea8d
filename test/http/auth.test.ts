/** Who may do what: every route of the app is tried with every kind of key; so are those that are added later. */

import { randomUUID } from "node:crypto";
import { text } from "node:stream/consumers";
import type { RouteOptions } from "fastify";
import { beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { z } from "zod";
import type { Scope } from "../../src/http/services.ts";
import { makeKey, revokeKey } from "../../src/keys/keys.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { type KeyKind, openTestApp, type TestApp } from "../support/http.ts";
import { runtime, takeScene } from "../support/runtime.ts";

/** Stands in all that the tenant has. */
const marker = "the-drowned-bell";

let database: TestDatabase;
let api: TestApp;
/** What the tenant has, by the names of paths' parameters. */
let own: Readonly<Record<string, string>>;

beforeAll(async () => {
  database = await testDatabase();
  const context = runtime(database);
  api = await openTestApp(context);
  await api.app.ready();
  const scene = await takeScene(context, { tenant_id: api.tenant, title: marker, text: marker });
  const [run, event, webhook, reingest] = await Promise.all([
    idOf("select id from pipeline_runs where tenant_id = $1"),
    idOf("select id from events where tenant_id = $1"),
    idOf(
      `insert into webhooks (tenant_id, url, secret, description)
       values ($1, 'https://${marker}.example', 'whsec_${marker}', '${marker}') returning id`,
    ),
    api.ask({ method: "POST", url: `/admin/tenants/${api.tenant}/reingest`, payload: {} }),
  ]);
  const { source_type, source_id } = scene;
  own = {
    source_type,
    source_id,
    runs: run,
    events: event,
    webhooks: webhook,
    reingests: reingest.json().id,
  };
});

async function idOf(statement: string): Promise<string> {
  const { rows } = await database.pool.query(statement, [api.tenant]);
  return z.tuple([z.object({ id: z.string() })]).parse(rows)[0].id;
}

type Caller = KeyKind | "nobody";
const strangers: readonly Caller[] = ["nobody", "malformed", "expired", "revoked"];
const callers: readonly Caller[] = [
  ...strangers,
  ...(["foreignRead", "foreignWrite", "read", "write", "admin"] as const),
];

/** How a route of the tenant refuses a caller, or undefined where it answers. */
function refusal(scope: Scope, caller: Caller): 401 | 403 | undefined {
  if (scope === "open") return undefined;
  if (strangers.includes(caller)) return 401;
  if (caller === "admin") return undefined;
  if (scope === "admin" || caller.startsWith("foreign")) return 403;
  return scope === "write" && caller === "read" ? 403 : undefined;
}

const scopeOf = ({ config }: RouteOptions): Scope => config?.scope ?? "admin";

/** The route's path, about what the tenant has; `tenant` is whose path it is. */
function pathOf({ url }: RouteOptions, tenant: string): string {
  const id = own[/([a-z-]+)\/:id/.exec(url)?.[1] ?? ""] ?? randomUUID();
  const given: Readonly<Record<string, string>> = { ...own, tenant_id: tenant, id, name: "base" };
  return url.replace(/:(\w+)/g, (_, name) => given[name] ?? randomUUID());
}

type Answer = { readonly status: number; readonly text: string };

/** Asks a route; of a stream that it answers with, only how it begins. */
async function ask(route: RouteOptions, caller: Caller, tenant: string = api.tenant): Promise<Answer> {
  const method = route.method as "GET";
  const response = await api.app.inject({
    method,
    url: pathOf(route, tenant),
    headers: caller === "nobody" ? {} : { authorization: `Bearer ${api.keys[caller]}` },
    ...(method === "GET" || method === "HEAD" ? {} : { payload: bodyOf(route) }),
    payloadAsStream: true,
  });
  const body = response.stream();
  if (response.headers["content-type"]?.startsWith("text/event-stream")) body.destroy();
  return { status: response.statusCode, text: body.destroyed ? "" : await text(body) };
}

/** What gets past a route's validation, where `{}` does not: so that what is behind it is tried, too. */
function bodyOf({ method, url }: RouteOptions): object {
  const entity = { title: "another", text: "another" };
  const { source_type, source_id } = own;
  if (method === "PUT") return url.endsWith("/entities") ? { entities: [{ ...own, ...entity }] } : entity;
  return url.endsWith("/entities/delete") ? { keys: [{ source_type, source_id }] } : {};
}

/** All rows of the tenant, in one text for each table. */
async function rowsOfTenant(): Promise<Readonly<Record<string, unknown>>> {
  const { rows } = await database.pool.query(
    `select table_name from information_schema.columns
     where table_schema = 'loregraph' and column_name = 'tenant_id' and table_name <> 'api_keys'`,
  );
  const tables = rows.map(({ table_name }) => String(table_name));
  const found = await Promise.all(
    tables.map((table) =>
      database.pool.query(
        `select string_agg(t::text, e'\\n' order by t::text) as rows from ${table} t where tenant_id = $1`,
        [api.tenant],
      ),
    ),
  );
  return Object.fromEntries(tables.map((table, at) => [table, found[at]?.rows[0]?.rows]));
}

const said = ({ method, url }: RouteOptions, caller: Caller, { status }: Answer) =>
  `${method} ${url} answers ${caller} ${status}`;

const leaks = ({ text }: Answer) => text.includes(marker) || text.includes(api.tenant);

test("there are routes of every scope", () => {
  expect(new Set(api.routes.map(scopeOf))).toEqual(new Set(["open", "read", "write", "admin"]));
});

test("what may not be asked is refused, tells nothing and does nothing", async () => {
  const before = await rowsOfTenant();
  const stray: string[] = [];
  for (const route of api.routes) {
    for (const caller of callers) {
      const status = refusal(scopeOf(route), caller);
      if (status === undefined) continue;
      const answer = await ask(route, caller);
      if (answer.status !== status || leaks(answer)) stray.push(said(route, caller, answer));
    }
  }

  expect(stray).toEqual([]);
  expect(await rowsOfTenant()).toEqual(before);
});

test("a key finds nothing of another tenant under its own", async () => {
  const before = await rowsOfTenant();
  const stray: string[] = [];
  for (const route of api.routes.filter(({ url }) => url.includes(":tenant_id"))) {
    const answer = await ask(route, "foreignWrite", api.foreign);
    if (answer.status >= 500 || leaks(answer)) stray.push(said(route, "foreignWrite", answer));
  }

  expect(stray).toEqual([]);
  expect(await rowsOfTenant()).toEqual(before);
});

test("what may be asked is answered, by whichever key", async () => {
  const stray: string[] = [];
  for (const route of api.routes) {
    for (const caller of callers.filter((each) => refusal(scopeOf(route), each) === undefined)) {
      const answer = await ask(route, caller);
      const ready = route.url === "/readyz" || answer.status < 500;
      if (answer.status === 401 || answer.status === 403 || !ready) stray.push(said(route, caller, answer));
    }
  }

  expect(stray).toEqual([]);
});

describe("a foreign key", () => {
  test("does not learn whether a tenant exists", async () => {
    const about = async (tenant: string) => {
      const response = await api.ask({ url: `/admin/tenants/${tenant}` }, api.keys.foreignWrite);
      return { ...response.json(), instance: "" };
    };

    expect(await about(api.tenant)).toEqual(await about(randomUUID()));
  });

  test("is its tenant's, however its id is written", async () => {
    const url = `/admin/tenants/${api.tenant.toUpperCase()}/runs`;

    expect((await api.ask({ url }, api.keys.read)).statusCode).toBe(200);
    expect((await api.ask({ url }, api.keys.foreignRead)).statusCode).toBe(403);
  });
});

describe("a refusal", () => {
  const url = "/admin/tenants";

  test("names the scope that is missing", async () => {
    expect((await api.ask({ url }, api.keys.write)).json()).toMatchObject({
      code: "FORBIDDEN",
      detail: "this needs a key with the scope admin",
    });
  });

  test("says how to send a key", async () => {
    const response = await api.app.inject(url);

    expect(response.json()).toMatchObject({ code: "UNAUTHENTICATED", status: 401 });
    expect(response.headers["www-authenticate"]).toBe('Bearer realm="loregraph"');
  });

  test.each([
    ["another scheme", (token: string) => `Basic ${token}`],
    ["no scheme", (token: string) => token],
    ["more than a token", (token: string) => `Bearer ${token} ${token}`],
    ["half a token", (token: string) => `Bearer ${token.slice(0, 50)}`],
    ["a token in a list", (token: string) => `Bearer ${token},${token}`],
  ])("meets %s", async (_, header) => {
    const response = await api.app.inject({ url, headers: { authorization: header(api.keys.admin) } });

    expect(response.statusCode).toBe(401);
  });

  test("does not tell strangers which paths there are", async () => {
    expect((await api.app.inject("/nothing/here")).statusCode).toBe(401);
    expect((await api.ask({ url: "/nothing/here" })).statusCode).toBe(404);
  });
});

test("the scheme may be written in any case", async () => {
  const headers = { authorization: `bearer ${api.keys.admin}` };

  expect((await api.app.inject({ url: "/admin/tenants", headers })).statusCode).toBe(200);
});

test("a key that is revoked stops within five seconds", async () => {
  const context = runtime(database);
  const { token, key } = await makeKey(database.pool, { name: "brief", scope: "admin", tenant_id: null });
  const { app } = await openTestApp(context);
  const status = async () =>
    (await app.inject({ url: "/admin/tenants", headers: { authorization: `Bearer ${token}` } })).statusCode;
  expect(await status()).toBe(200);

  await revokeKey(database.pool, key.id);
  const now = performance.now();
  const clock = vi.spyOn(performance, "now").mockReturnValue(now + 5_000);
  onTestFinished(() => clock.mockRestore());

  expect(await status()).toBe(401);
});

describe("a route", () => {
  test("that does not say who may call it is not taken", async () => {
    const { app } = await openTestApp(runtime(database));

    expect(() => app.get("/anybody", () => "hello")).toThrow(
      "expected GET /anybody to name its config.scope: open, read, write or admin",
    );
  });

  test("for a tenant's keys has the tenant in its path", async () => {
    const { app } = await openTestApp(runtime(database));

    expect(() => app.get("/things", { config: { scope: "read" } }, () => "hello")).toThrow(
      "expected GET /things to have :tenant_id in its path",
    );
  });
});

/** Requests of a hostile caller, made of one valid request for each route, and what no answer to them may be. */

import { randomUUID } from "node:crypto";
import { Agent, request as ask, type IncomingHttpHeaders } from "node:http";
import { buffer } from "node:stream/consumers";
import type { OpenAPIV3_1 } from "openapi-types";
import { errorCodes } from "../../src/errors.ts";
import { writeCursor } from "../../src/http/cursor.ts";
import { Problem } from "../../src/http/problem.ts";
import type { Scope } from "../../src/http/services.ts";
import { failAttempt } from "../../src/ledger/attempt.ts";
import { noUsage } from "../../src/pipeline.ts";
import type { Context } from "../../src/worker/context.ts";
import type { TestApp } from "./http.ts";
import { started } from "./ledger.ts";
import { newReingest } from "./reingests.ts";
import { takeScene } from "./runtime.ts";

/** A route as its own description has it. */
export type Operation = {
  readonly method: string;
  /** With its parameters as `:name`. */
  readonly url: string;
  readonly scope: Scope;
  /** The names that its query may have. */
  readonly query: readonly string[];
  /** The names of all fields of its body, however deep; none where it reads no body. */
  readonly fields: ReadonlySet<string>;
};

/** Every method and path that the app answers, as the app itself and its OpenAPI document tell. */
export async function operationsOf({ app, routes }: TestApp): Promise<readonly Operation[]> {
  const document: OpenAPIV3_1.Document = (await app.inject("/docs/openapi.json")).json();
  return routes.flatMap(({ method: methods, url, config }) =>
    [methods].flat().map((method) => ({
      method,
      url,
      scope: config?.scope ?? "admin",
      ...described(document, method, url.replace(/:(\w+)/g, "{$1}")),
    })),
  );
}

type Part = Readonly<Record<string, unknown>>;

function described(document: OpenAPIV3_1.Document, method: string, path: string) {
  const verb = method === "HEAD" ? "get" : (method.toLowerCase() as "get");
  const { parameters = [], requestBody } = document.paths?.[path]?.[verb] ?? {};
  const query = (parameters as OpenAPIV3_1.ParameterObject[]).filter((each) => each.in === "query");
  const fields = new Set<string>();
  collectFields(document, requestBody, fields);
  return { query: query.map(({ name }) => name), fields };
}

/** Adds the names of all properties that a schema has, wherever they stand in it. */
function collectFields(document: OpenAPIV3_1.Document, schema: unknown, fields: Set<string>): void {
  if (typeof schema !== "object" || schema === null) return;
  const { $ref, properties = {} } = schema as { $ref?: string; properties?: Part };
  const [, named = ""] = /^#\/components\/schemas\/(.+)$/.exec($ref ?? "") ?? [];
  collectFields(document, document.components?.schemas?.[named], fields);
  for (const name of Object.keys(properties)) fields.add(name);
  for (const part of Object.values(schema)) collectFields(document, part, fields);
}

/** What a tenant has, by the names of paths' parameters; an `:id` is of the resource before it. */
export type Belongings = Readonly<Record<string, string>>;

/** Gives a tenant one of each thing, with `mark` in every text of it, and takes its webhooks away before. */
export async function settle(context: Context, tenant_id: string, mark: string): Promise<Belongings> {
  const { pool } = context;
  await pool.query("delete from webhooks where tenant_id = $1", [tenant_id]);
  const scene = { tenant_id, title: mark, text: mark, metadata: { note: mark } };
  const { source_type, source_id } = await takeScene(context, scene);
  const [run, webhook, reingest, event] = await Promise.all([
    deadLetter(context, tenant_id, mark),
    idOf(context, madeWebhook, [tenant_id, mark]),
    newReingest(pool, { tenant_id, idempotency_key: randomUUID() }),
    idOf(context, "select max(id) as id from events where tenant_id = $1", [tenant_id]),
  ]);
  const ids = { runs: run, webhooks: webhook, reingests: reingest.id, events: event };
  return { ...ids, tenant_id, source_type, source_id, name: "base" };
}

// To an address where nothing may be posted, so that trying it asks nobody.
const madeWebhook = `
  insert into webhooks (tenant_id, url, secret, description)
  values ($1, 'http://127.0.0.1:1/' || $2, 'whsec_' || $2, $2) returning id`;

async function idOf({ pool }: Context, statement: string, values: readonly string[]): Promise<string> {
  const { rows } = await pool.query(statement, [...values]);
  return String(rows[0].id);
}

async function deadLetter({ pool }: Context, tenant_id: string, message: string): Promise<string> {
  const run = await started(pool, { tenant_id });
  await failAttempt(pool, run, { code: message, message, retryInMs: null, counts: true, usage: noUsage });
  return run.id;
}

export type Valid = { readonly query?: Readonly<Record<string, string>>; readonly body?: object };

const nothing: Valid = {};
const id = randomUUID();
const page = { limit: "2", cursor: writeCursor(id) };

/** For each route, a request with all that its query and its body may have. A HEAD is asked as its GET. */
export const validRequests: Readonly<Record<string, Valid>> = {
  "GET /docs": nothing,
  "GET /docs/": nothing,
  "GET /docs/js/scalar.js": nothing,
  "GET /docs/openapi.json": nothing,
  "GET /docs/errors": nothing,
  "GET /healthz": nothing,
  "GET /readyz": nothing,
  "GET /metrics": nothing,

  "GET /admin/tenants": { query: page },
  "GET /admin/tenants/:tenant_id": nothing,
  "POST /admin/tenants/:tenant_id/pause": nothing,
  "POST /admin/tenants/:tenant_id/resume": nothing,
  "PATCH /admin/tenants/:tenant_id": { body: { weight: 2, max_running: 3, flags: { dark: true } } },

  "GET /admin/pipelines": nothing,
  "GET /admin/pipelines/:name": nothing,
  "POST /admin/pipelines/:name/pause": nothing,
  "POST /admin/pipelines/:name/resume": nothing,
  "PATCH /admin/pipelines/:name": { body: { max_running: 3 } },

  "POST /admin/tenants/:tenant_id/reingest": {
    body: {
      types: ["scene"],
      pipelines: ["base"],
      batch_size: 10,
      dry_run: true,
      force: false,
      changed_since: "2026-11-22T12:00:00Z",
      ids: [id],
      only: "stale",
      priority: -200,
      max_cost_usd: 0.5,
      max_tokens: 1_000,
      max_runs_per_minute: 60,
      source: "local",
      key: "one-night",
    },
  },
  "GET /admin/tenants/:tenant_id/reingests": { query: { ...page, status: "running" } },
  "GET /admin/tenants/:tenant_id/reingests/:id": nothing,
  "POST /admin/tenants/:tenant_id/reingests/:id/pause": nothing,
  "POST /admin/tenants/:tenant_id/reingests/:id/cancel": nothing,
  "POST /admin/tenants/:tenant_id/reingests/:id/resume": {
    body: { max_cost_usd: 2, max_tokens: 2_000, max_runs_per_minute: 120 },
  },
  "GET /admin/tenants/:tenant_id/reingests/:id/progress": nothing,

  "GET /admin/tenants/:tenant_id/runs": {
    query: {
      ...page,
      pipeline: "base",
      status: "pending",
      source_type: "scene",
      source_id: id,
      reingest_id: id,
    },
  },
  "GET /admin/tenants/:tenant_id/runs/:id": nothing,
  "POST /admin/tenants/:tenant_id/runs/:id/retry": nothing,
  "POST /admin/tenants/:tenant_id/runs/:id/cancel": nothing,

  "GET /admin/tenants/:tenant_id/dead-letters": { query: { pipeline: "base", cause: "GRAPH_FAILED" } },
  "GET /admin/dead-letters": { query: { pipeline: "base", cause: "GRAPH_FAILED" } },
  "POST /admin/tenants/:tenant_id/dead-letters/redrive": {
    body: { pipeline: "base", cause: "GRAPH_FAILED", limit: 10 },
  },
  "POST /admin/dead-letters/redrive": { body: { pipeline: "base", cause: "GRAPH_FAILED", limit: 10 } },

  "PUT /tenants/:tenant_id/entities": {
    body: {
      source: "hostile",
      entities: [{ source_type: "lore", source_id: id, title: "A", text: "B", metadata: { order: 1 } }],
    },
  },
  "PUT /tenants/:tenant_id/entities/:source_type/:source_id": {
    body: { source: "hostile", title: "A", text: "B", metadata: { order: 1, parent_id: id } },
  },
  "GET /tenants/:tenant_id/entities/:source_type/:source_id": { query: { chunks: "true", first_chunk: "1" } },
  "GET /tenants/:tenant_id/entities": {
    query: {
      limit: "2",
      cursor: writeCursor({ source_type: "beat", source_id: id }),
      source_type: "scene",
    },
  },
  "DELETE /tenants/:tenant_id/entities/:source_type/:source_id": nothing,
  "POST /tenants/:tenant_id/entities/delete": { body: { keys: [{ source_type: "lore", source_id: id }] } },
  "GET /tenants/:tenant_id/search": { query: { q: "words", limit: "2" } },

  "GET /tenants/:tenant_id/events": {
    query: {
      after: "1",
      order: "desc",
      event: "entity.changed",
      source_type: "scene",
      source_id: id,
      limit: "2",
    },
  },
  "GET /tenants/:tenant_id/events/stream": { query: { after: "1", event: "entity.changed" } },
  "POST /tenants/:tenant_id/events/:id/redeliver": { body: {} },

  "GET /tenants/:tenant_id/webhooks": { query: page },
  "POST /tenants/:tenant_id/webhooks": {
    body: { url: "https://subscriber.example/", events: ["entity.changed"], description: "A" },
  },
  "GET /tenants/:tenant_id/webhooks/:id": nothing,
  "PATCH /tenants/:tenant_id/webhooks/:id": {
    body: { url: "https://subscriber.example/", events: ["entity.changed"], description: "A" },
  },
  "DELETE /tenants/:tenant_id/webhooks/:id": nothing,
  "POST /tenants/:tenant_id/webhooks/:id/enable": nothing,
  "POST /tenants/:tenant_id/webhooks/:id/disable": nothing,
  "POST /tenants/:tenant_id/webhooks/:id/rotate": nothing,
  "POST /tenants/:tenant_id/webhooks/:id/test": nothing,
};

/** The valid request of a route. Throws where there is none: a new route needs a line above. */
export function validRequestOf({ method, url }: Operation): Valid {
  const valid = validRequests[`${method === "HEAD" ? "GET" : method} ${url}`];
  if (valid) return valid;
  throw new Error(`expected a valid request of ${method} ${url} in test/support/hostile.ts`);
}

/** Texts that mean something to somebody on the way: SQL, JavaScript, a shell, a formatter, a file system. */
export const hostileTexts: readonly string[] = [
  "",
  " ",
  "\0",
  "a\0b",
  "\ud800",
  "b\udfff",
  "'; drop table entities; --",
  "' or '1'='1",
  "1); truncate events; --",
  "$1",
  "\\",
  "%",
  "%s%n%x%d",
  "{{7*7}}${7*7}",
  "$(reboot)`reboot`",
  "<script>alert(1)</script>",
  "../../../etc/passwd",
  "__proto__",
  "constructor",
  "null",
  "undefined",
  "true",
  "NaN",
  "Infinity",
  "-Infinity",
  "-1",
  "0",
  "0x10",
  "1e5",
  "1e308",
  "1e999",
  "1.5",
  "9007199254740993",
  "-9223372036854775809",
  "2147483648",
  "00000000-0000-0000-0000-000000000000",
  "0001-01-01T00:00:00Z",
  "9999-12-31T23:59:59.9999999999Z",
  "\r\nset-cookie: a=b",
  "\u202e\u200b\ufeff",
  "😀",
  "x".repeat(1_001),
];

/** What may stand in a body where something else is expected, as JSON. */
const hostileValues: readonly string[] = [
  ...hostileTexts.map((text) => JSON.stringify(text)),
  JSON.stringify("x".repeat(200_000)),
  ..."null true false 0 -1 0.5 -0 1e5 1e308 -1e308 1e999 5e-324 9007199254740993 -9223372036854775809".split(" "),
  "[]",
  "[[]]",
  "[null]",
  `[${'"scene",'.repeat(1_000)}"scene"]`,
  "{}",
  '{"":""}',
  '{"toString":1,"hasOwnProperty":null}',
  '{"__proto__":{"polluted":true}}',
  '{"constructor":{"prototype":{"polluted":true}}}',
  '{"$ne":null}',
  `${"[".repeat(100_000)}${"]".repeat(100_000)}`,
  `${'{"a":'.repeat(100_000)}1${"}".repeat(100_000)}`,
];

/** A request as it goes over the wire. */
export type Request = {
  readonly method: string;
  /** Path and query, as they stand in the request. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
};

/** The request with which a valid one of this route goes out. */
export function validRequest(operation: Operation, belongings: Belongings): Request {
  const { query, body } = validRequestOf(operation);
  return {
    method: operation.method,
    path: `${pathOf(operation.url, belongings)}${query ? `?${new URLSearchParams(query)}` : ""}`,
    ...(body && json(JSON.stringify(body))),
  };
}

function json(body: string | Buffer) {
  return { headers: { "content-type": "application/json" }, body };
}

function pathOf(url: string, belongings: Belongings): string {
  const resource = /([a-z-]+)\/:id/.exec(url)?.[1] ?? "";
  const given: Belongings = { ...belongings, id: belongings[resource] ?? "" };
  return url.replace(/:(\w+)/g, (_, name) => given[name] ?? "");
}

/** Segments of a path as they are written: escaped, badly escaped, climbing, long. */
const hostileSegments: readonly string[] = [
  ...hostileTexts.filter((text) => text.isWellFormed() && text !== "").map(encodeURIComponent),
  "%ed%a0%80", // half a surrogate pair
  "%ff",
  "%c0%ae%c0%ae", // an overlong way to write two dots
  "%zz",
  "%",
  ".",
  "..",
  "%2e%2e",
  "%2f",
  "%2e%2e%2f%2e%2e%2fadmin%2ftenants",
  "a%2fb",
  "a//b",
  ";a=b",
  "*",
  ":id",
  "x".repeat(5_000),
];

/** Each parameter of the path, made hostile, and the path as a whole. */
export function hostilePaths(operation: Operation, own: Belongings, foreign: Belongings): readonly Request[] {
  const valid = validRequest(operation, own);
  const names = [...operation.url.matchAll(/:(\w+)/g)].map(([, name = ""]) => name);
  const paths = names.flatMap((name) =>
    [...hostileSegments, pathOf(`:${name}`, foreign)].map((segment) =>
      pathOf(operation.url.replace(`:${name}`, () => segment), own),
    ),
  );
  const path = pathOf(operation.url, own);
  const whole = [`/${path}`, `${path}/`, `${path}/..`, `${path}%00`, `${path}%20`, path.toUpperCase(), `${path};x`];
  return [...paths, ...whole].map((each) => ({ ...valid, path: each }));
}

/** One valid request for each route, about what its tenant has. */

import { randomUUID } from "node:crypto";
import { writeCursor } from "../../src/http/cursor.ts";
import { failAttempt } from "../../src/ledger/attempt.ts";
import { setBudget } from "../../src/ledger/budgets.ts";
import { noUsage } from "../../src/pipeline.ts";
import type { Context } from "../../src/worker/context.ts";
import { started } from "./ledger.ts";
import type { Operation } from "./operations.ts";
import { newReingest } from "./reingests.ts";
import { takeScene } from "./runtime.ts";

/** What a tenant has, by the names of paths' parameters and of their resources. */
export type Belongings = Readonly<
  Record<
    | "tenant_id"
    | "source_type"
    | "source_id"
    | "name"
    | "runs"
    | "webhooks"
    | "reingests"
    | "events"
    | "budgets",
    string
  >
>;

/** Gives a tenant one of each thing, with `mark` in every text of it; what held it back or filled it up is gone. */
export async function settle(context: Context, tenant_id: string, mark: string): Promise<Belongings> {
  const { pool } = context;
  for (const table of ["webhooks", "tenant_controls", "budgets"])
    await pool.query(`delete from ${table} where tenant_id = $1`, [tenant_id]);
  const scene = { tenant_id, title: mark, text: mark, metadata: { note: mark } };
  const { source_type, source_id } = await takeScene(context, scene);
  const [run, webhook, reingest, event, budget] = await Promise.all([
    deadLetter(context, tenant_id, mark),
    idOf(context, madeWebhook, [tenant_id, mark]),
    newReingest(pool, { tenant_id, idempotency_key: randomUUID() }),
    idOf(context, "select max(id) as id from events where tenant_id = $1", [tenant_id]),
    setBudget(pool, { tenant_id, pipeline: mark, per: "day" }, 1_000),
  ]);
  const ids = { runs: run, webhooks: webhook, reingests: reingest.id, events: event, budgets: budget.id };
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

/** For each route, a request with all that its query and its body may have. A HEAD is asked as its GET. */
const page = (id = "") => ({ limit: "2", cursor: writeCursor(id) });

const validRequests = ({
  source_type,
  source_id,
  webhooks,
  reingests,
}: Belongings): Readonly<Record<string, Valid>> => ({
  "GET /docs": nothing,
  "GET /docs/": nothing,
  "GET /docs/js/scalar.js": nothing,
  "GET /docs/openapi.json": nothing,
  "GET /docs/errors": nothing,
  "GET /healthz": nothing,
  "GET /readyz": nothing,
  "GET /metrics": nothing,

  "GET /admin/tenants": { query: page(webhooks) },
  "GET /admin/tenants/:tenant_id": nothing,
  "POST /admin/tenants/:tenant_id/pause": nothing,
  "POST /admin/tenants/:tenant_id/resume": nothing,
  "PATCH /admin/tenants/:tenant_id": { body: { weight: 2, max_running: 3, flags: { dark: true } } },

  "GET /tenants/:tenant_id/cost": {
    query: { since: "2026-11-01", until: "2026-11-30", by: "pipeline,model,day" },
  },
  "GET /admin/tenants/:tenant_id/budgets": nothing,
  "PUT /admin/tenants/:tenant_id/budgets": {
    body: { pipeline: "base", reingest_id: reingests, per: "month", usd: 1_000 },
  },
  "DELETE /admin/tenants/:tenant_id/budgets/:id": nothing,

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
      ids: [source_id],
      only: "stale",
      stale_version: 1,
      priority: -200,
      max_cost_usd: 0.5,
      max_tokens: 1_000,
      max_runs_per_minute: 60,
      source: "local",
      key: "one-night",
    },
  },
  "GET /admin/tenants/:tenant_id/reingests": { query: { ...page(reingests), status: "running" } },
  "GET /admin/tenants/:tenant_id/reingests/:id": nothing,
  "POST /admin/tenants/:tenant_id/reingests/:id/pause": nothing,
  "POST /admin/tenants/:tenant_id/reingests/:id/cancel": nothing,
  "POST /admin/tenants/:tenant_id/reingests/:id/resume": {
    body: { max_cost_usd: 2, max_tokens: 2_000, max_runs_per_minute: 120 },
  },
  "GET /admin/tenants/:tenant_id/reingests/:id/progress": nothing,

  "GET /admin/tenants/:tenant_id/runs": {
    query: {
      ...page(reingests),
      pipeline: "base",
      status: "pending",
      source_type,
      source_id,
      reingest_id: reingests,
    },
  },
  "GET /admin/tenants/:tenant_id/runs/:id": nothing,
  "POST /admin/tenants/:tenant_id/runs/:id/retry": nothing,
  "POST /admin/tenants/:tenant_id/runs/:id/cancel": nothing,
  "POST /admin/tenants/:tenant_id/runs/:id/answer": { body: { answer: { who: "Mara" }, question: "q" } },
  "POST /admin/runs/:id/answer": { body: { answer: { who: "Mara" }, question: "q" } },

  "GET /admin/tenants/:tenant_id/dead-letters": { query: { pipeline: "base", cause: "GRAPH_FAILED" } },
  "GET /admin/dead-letters": { query: { pipeline: "base", cause: "GRAPH_FAILED" } },
  "POST /admin/tenants/:tenant_id/dead-letters/redrive": {
    body: { pipeline: "base", cause: "GRAPH_FAILED", limit: 10 },
  },
  "POST /admin/dead-letters/redrive": { body: { pipeline: "base", cause: "GRAPH_FAILED", limit: 10 } },

  "PUT /tenants/:tenant_id/entities": {
    body: {
      source: "hostile",
      entities: [{ source_type: "lore", source_id, title: "A", text: "B", metadata: { order: 1 } }],
    },
  },
  "PUT /tenants/:tenant_id/entities/:source_type/:source_id": {
    body: { source: "hostile", title: "A", text: "B", metadata: { order: 1, parent_id: source_id } },
  },
  "GET /tenants/:tenant_id/entities/:source_type/:source_id": { query: { chunks: "true", first_chunk: "1" } },
  "GET /tenants/:tenant_id/entities": {
    query: {
      limit: "2",
      cursor: writeCursor({ source_type: "beat", source_id }),
      source_type: "scene",
    },
  },
  "DELETE /tenants/:tenant_id/entities/:source_type/:source_id": nothing,
  "POST /tenants/:tenant_id/entities/delete": { body: { keys: [{ source_type, source_id }] } },
  "GET /tenants/:tenant_id/search": { query: { q: "words", limit: "2" } },

  "GET /tenants/:tenant_id/events": {
    query: {
      after: "1",
      order: "desc",
      event: "entity.changed",
      source_type,
      source_id,
      limit: "2",
    },
  },
  "GET /tenants/:tenant_id/events/stream": { query: { after: "1", event: "entity.changed" } },
  "POST /tenants/:tenant_id/events/:id/redeliver": { body: { webhook_id: webhooks } },

  "GET /tenants/:tenant_id/webhooks": { query: page(webhooks) },
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
});

/** The query and the body of a route's valid request. Throws where there is none: a new route needs a line above. */
export function validPartsOf({ method, url }: Operation, own: Belongings): Valid {
  const valid = validRequests(own)[`${method === "HEAD" ? "GET" : method} ${url}`];
  if (valid) return valid;
  throw new Error(`expected a valid request of ${method} ${url} in test/support/valid-requests.ts`);
}

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
  const { method, url } = operation;
  const { query, body } = validPartsOf(operation, belongings);
  return {
    method,
    path: `${pathOf(url, paramsOf(url, belongings))}${query ? `?${new URLSearchParams(query)}` : ""}`,
    ...(body && json(JSON.stringify(body))),
  };
}

export function json(body: string | Buffer) {
  return { headers: { "content-type": "application/json" }, body };
}

/** The parameters of a route's path: an `:id` is of the resource before it. */
export function paramsOf(url: string, belongings: Belongings): Readonly<Record<string, string>> {
  const known: Readonly<Record<string, string>> = belongings;
  const [, resource = ""] = /([a-z-]+)\/:id/.exec(url) ?? [];
  const names = [...url.matchAll(/:(\w+)/g)].map(([, name = ""]) => name);
  return Object.fromEntries(names.map((name) => [name, known[name === "id" ? resource : name] ?? ""]));
}

export function pathOf(url: string, params: Readonly<Record<string, string>>): string {
  return url.replace(/:(\w+)/g, (_, name) => params[name] ?? "");
}

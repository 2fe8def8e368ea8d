import { STATUS_CODES } from "node:http";
import swagger, { type SwaggerTransform } from "@fastify/swagger";
import type { FastifySchema } from "fastify";
import { jsonSchemaTransform, jsonSchemaTransformObject } from "fastify-type-provider-zod";
import type { OpenAPIV3_1 } from "openapi-types";
import { z } from "zod";
import { errorCodes } from "../errors.ts";
import { IdempotencyKey, takesIdempotencyKey } from "./idempotency.ts";
import { Problem, problemType } from "./problem.ts";
import type { App, Scope } from "./services.ts";

/** What each tag is about. Every route bears one of them. */
const tags = {
  reingests: "Run a tenant again, or a part of it: plan it, start it, watch it, hold it, stop it.",
  runs: "One pipeline on one entity: the queue item and the ledger entry in one.",
  costs: "What models were asked and what that cost, and the budgets that bound it.",
  "dead-letters": "Runs whose attempts are spent, by cause. They keep all that is needed to try again.",
  pipelines:
    "The LangGraph graphs of langgraph.json: what triggers them, what waits for them, what they answer.",
  tenants: "Who owns content. Hold one back, weigh it, cap it, set its flags.",
  entities: "Pieces of content, and what is known of them. A change here is what sets pipelines to work.",
  search: "Find passages by their words.",
  events: "What happened, in order: page through it, or follow it live.",
  webhooks: "Who is told of events, as the Standard Webhooks specification says.",
  health: "Is it alive, can it do its work, and how does it do?",
} as const;

/** Describes every route that is added from here on, as OpenAPI 3.1 of their zod schemas. */
export async function describeRoutes(app: App): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: "3.1.0",
      info: { title: "Loregraph", version: "1", description: description() },
      tags: Object.entries(tags).map(([name, about]) => ({ name, description: about })),
      components: { securitySchemes: { key: { type: "http", scheme: "bearer", description: keyText } } },
    },
    transform: describe,
    transformObject: (routes) => withoutUnused(withReasons(jsonSchemaTransformObject(routes) as Document)),
  });
}

const keyText = "An API key, `lg_…`. `loregraph keys create` makes one.";

function description(): string {
  const rows = Object.entries(errorCodes).map(
    ([code, { status, retry, solve }]) => `| ${code} | ${status} | ${retry ? "yes" : "no"} | ${solve} |`,
  );
  const head = ["| code | status | retry | how to solve |", "| --- | --- | --- | --- |"];
  return `${introduction}\n\n${[...head, ...rows].join("\n")}`;
}

const introduction = `A durable ingestion and enrichment runtime.

Lists page by cursor: ask again with \`cursor\` set to the \`next\` of the page before, until it is null. A write that is
sent again under the same \`Idempotency-Key\` is done once. Whatever is refused is answered as a problem (RFC 9457) with
one of these codes:`;

/** A route as it is described: with its scope, the problems it may answer, and its Idempotency-Key. */
const describe: SwaggerTransform = ({ schema, url, route, ...document }) => {
  const { config: { scope } = {}, method } = route;
  if (schema?.hide || scope === undefined) return { schema: { hide: true }, url };
  const more = {
    description: [schema.description, needs(scope)].filter(Boolean).join("\n\n"),
    response: { ...answersOf(schema), default: refusal },
    operationId: operationId(method, url),
    security: scope === "open" ? [] : [{ key: [] }],
    "x-scope": scope,
    ...(scope !== "open" && takesIdempotencyKey(method) ? { headers: Once } : {}),
  };
  return jsonSchemaTransform({ schema: { ...schema, ...more } as FastifySchema, url, route, ...document });
};

/** What it says that it answers; one that names only a type answers text of that type. */
function answersOf({ response, produces = [] }: FastifySchema): object {
  const text = produces.map((type) => [type, { schema: z.string() }]);
  return response ?? { 200: { description: "Text", content: Object.fromEntries(text) } };
}

/** What generated clients call it: `get /admin/tenants/:tenant_id` is `get_admin_tenants_tenant_id`. */
function operationId(method: string | readonly string[], url: string): string {
  return `${method}${url}`.toLowerCase().replace(/[^a-z0-9]+/g, "_");
}

const Once = z.object({
  "idempotency-key": IdempotencyKey.optional().describe(
    "Under the same key, the same request is done once in 24 hours; sent again, it gets the first answer.",
  ),
});

const refusal = {
  description: "Whatever was refused or went wrong",
  content: { [problemType]: { schema: Problem } },
};

function needs(scope: Scope): string {
  const whose = {
    open: "no key",
    admin: "an admin's key",
    read: "any key of the tenant",
    write: "a key of the tenant that may write",
  };
  return `Needs ${whose[scope]}.`;
}

type Document = OpenAPIV3_1.Document;

/** Where a route does not describe an answer, its status does. */
function withReasons(document: Document): Document {
  for (const path of Object.values(document.paths ?? {})) {
    for (const { responses } of Object.values(path ?? {}) as readonly OpenAPIV3_1.OperationObject[]) {
      for (const [status, answer] of Object.entries(responses ?? {}))
        if ("description" in answer && answer.description === "Default Response")
          answer.description = STATUS_CODES[status] ?? status;
    }
  }
  return document;
}

/** Without schemas that nothing refers to: each is listed in both directions, whichever is used. */
function withoutUnused(document: Document): Document {
  const { schemas = {}, ...components } = document.components ?? {};
  const used = new Set<string>();
  const follow = (part: unknown) => {
    for (const [, name = ""] of JSON.stringify(part).matchAll(/"#\/components\/schemas\/([^"]+)"/g)) {
      if (used.has(name)) continue;
      used.add(name);
      follow(schemas[name] ?? null);
    }
  };
  follow(document.paths);
  const kept = Object.fromEntries(Object.entries(schemas).filter(([name]) => used.has(name)));
  return { ...document, components: { ...components, schemas: kept } };
}

/** The routes of the API, as it describes itself. */

import type { OpenAPIV3_1 } from "openapi-types";
import type { Scope } from "../../src/http/services.ts";
import type { TestApp } from "./http.ts";

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

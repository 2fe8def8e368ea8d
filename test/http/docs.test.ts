/** The API describes itself, and the same things are said everywhere. */

import { readFile } from "node:fs/promises";
import type { OpenAPIV3_1 } from "openapi-types";
import { beforeAll, describe, expect, test } from "vitest";
import { errorCodes } from "../../src/errors.ts";
import { testDatabase } from "../support/database.ts";
import { openTestApp, type TestApp } from "../support/http.ts";
import { runtime } from "../support/runtime.ts";

type Operation = OpenAPIV3_1.OperationObject & { readonly "x-scope"?: string };

let api: TestApp;
let document: OpenAPIV3_1.Document;
let operations: readonly (Operation & { readonly at: string })[];

beforeAll(async () => {
  api = await openTestApp(runtime(await testDatabase()));
  document = (await api.app.inject("/docs/openapi.json")).json();
  operations = Object.entries(document.paths ?? {}).flatMap(([path, methods]) =>
    Object.entries(methods ?? {}).map(([method, operation]) => ({
      at: `${method.toUpperCase()} ${path}`,
      ...(operation as Operation),
    })),
  );
});

/** Those for which something does not hold, by method and path. */
const without = (holds: (operation: Operation & { readonly at: string }) => boolean) =>
  operations.filter((operation) => !holds(operation)).map(({ at }) => at);

describe("the table of errors", () => {
  type Row = { code: string; status: number; retry: boolean; solve: string };
  const table: readonly Row[] = Object.entries(errorCodes).map(([code, row]) => ({ code, ...row }));
  /** The rows of a Markdown table: its first three columns and its last. */
  const rowsOf = (markdown: string): readonly Row[] =>
    [...markdown.matchAll(/^\| `?([A-Z_]+)`? \| (\d+) \| (yes|no) \|(?:.*\|)? (.*?) \|$/gm)].map(
      ([, code = "", status, retry, solve = ""]) => ({
        code,
        status: Number(status),
        retry: retry === "yes",
        solve,
      }),
    );

  test("is the same in docs/errors.md, in the API's description and in its answers", async () => {
    const Problem = document.components?.schemas?.Problem as { properties: { code: { enum: string[] } } };

    expect(rowsOf(await readFile("docs/errors.md", "utf8"))).toEqual(table);
    expect(rowsOf(document.info.description ?? "")).toEqual(table);
    expect(Problem.properties.code.enum).toEqual(table.map(({ code }) => code));
  });

  test("has each code where a problem's type leads", async () => {
    const { type } = (await api.ask({ url: "/nowhere" })).json();
    const [path = "", code] = String(type).split("#");
    const page = await api.app.inject(path);

    expect(code).toBe("ROUTE_UNKNOWN");
    expect(page.headers["content-type"]).toBe("text/html; charset=utf-8");
    expect([...page.body.matchAll(/<tr id="([A-Z_]+)">/g)].map(([, id]) => id)).toEqual(
      table.map((row) => row.code),
    );
  });
});

describe("every route", () => {
  test("is described, with who may call it", () => {
    const routes = api.routes.filter(
      ({ method, url }) => method !== "HEAD" && url !== "/docs" && !url.startsWith("/docs/"),
    );
    const described = operations.map((operation) => `${operation.at} ${operation["x-scope"]}`);

    expect(routes.length).toBeGreaterThan(30);
    expect(described.toSorted()).toEqual(
      routes
        .map(({ method, url, config }) => `${method} ${url.replace(/:(\w+)/g, "{$1}")} ${config?.scope}`)
        .toSorted(),
    );
  });

  test("has a summary in one line, without a full stop, and a name of its own", () => {
    expect(without(({ summary }) => /^[A-Z].*[^.\n]$/.test(summary ?? ""))).toEqual([]);
    expect(new Set(operations.map(({ operationId }) => operationId)).size).toBe(operations.length);
  });

  test("has one tag, and every tag is explained and used", () => {
    const explained = document.tags?.map(({ name }) => name) ?? [];

    expect(without(({ tags }) => tags?.length === 1 && explained.includes(tags[0] ?? ""))).toEqual([]);
    expect(explained.filter((name) => !operations.some(({ tags }) => tags?.[0] === name))).toEqual([]);
  });

  test("says what it answers when all is well, and that else it answers a problem", () => {
    const problem = { $ref: "#/components/schemas/Problem" };

    expect(without(({ responses }) => Object.keys(responses ?? {}).some((s) => /^2\d\d$/.test(s)))).toEqual(
      [],
    );
    expect(
      without(({ responses }) => {
        const refusal = responses?.default as OpenAPIV3_1.ResponseObject;
        return (
          JSON.stringify(refusal.content?.["application/problem+json"]?.schema) === JSON.stringify(problem)
        );
      }),
    ).toEqual([]);
    expect(JSON.stringify(document)).not.toContain("Default Response");
  });

  test("needs a key, unless it is open to all", () => {
    expect(
      without(({ security, "x-scope": scope }) =>
        scope === "open" ? security?.length === 0 : JSON.stringify(security) === '[{"key":[]}]',
      ),
    ).toEqual([]);
    expect(operations.filter((o) => o["x-scope"] === "open").map(({ at }) => at)).toEqual([
      "GET /healthz",
      "GET /readyz",
    ]);
  });

  test("that writes takes an Idempotency-Key, and none that reads does", () => {
    const takes = ({ parameters }: Operation) =>
      parameters?.some((each) => "name" in each && each.name === "idempotency-key") ?? false;

    expect(without((operation) => takes(operation) === !operation.at.startsWith("GET "))).toEqual([]);
  });
});

test("the description refers to nothing that it does not hold, and holds nothing that it does not refer to", () => {
  const text = JSON.stringify(document);
  const referred = new Set([...text.matchAll(/"#\/components\/schemas\/([^"]+)"/g)].map(([, name]) => name));

  expect(document.openapi).toBe("3.1.0");
  expect([...referred].toSorted()).toEqual(Object.keys(document.components?.schemas ?? {}).toSorted());
});

describe("the page at /docs", () => {
  test("opens without a key", async () => {
    const redirect = await api.app.inject("/docs");
    const page = await api.app.inject("/docs/");

    expect([redirect.statusCode, redirect.headers.location]).toEqual([301, "/docs/"]);
    expect(page.headers["content-type"]).toBe("text/html; charset=utf-8");
    expect(page.body).toContain("<title>Loregraph</title>");
  });

  test("loads what it needs from here, and may ask nobody else", async () => {
    const page = await api.app.inject("/docs/");
    const loaded = [...page.body.matchAll(/(?:src|href|url)"?(?:=|: )"([^"]+)"/g)].map(([, url = ""]) => url);

    expect(loaded).toEqual(["js/scalar.js", "./openapi.json"]);
    for (const url of loaded) {
      const { pathname } = new URL(url, "http://here/docs/");
      expect((await api.app.inject(pathname)).statusCode, pathname).toBe(200);
    }
    expect(page.body).toContain('"withDefaultFonts": false');
    expect(page.body).toContain('"telemetry": false');
    expect(page.headers["content-security-policy"]).toBe(
      "default-src 'none';script-src 'self' 'unsafe-inline';style-src 'self' 'unsafe-inline';img-src 'self' data:;font-src 'self' data:;connect-src 'self';base-uri 'none';form-action 'none';frame-ancestors 'none'",
    );
  });

  test("is refused where Host names no host, and not broken by it", async () => {
    const response = await api.app.inject({ url: "/docs/", headers: { host: "[" } });

    expect(response.json()).toMatchObject({ status: 400, code: "INPUT_INVALID" });
  });
});

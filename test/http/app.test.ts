/** What the app does with every request, whatever its route: it refuses what is wrong, and says what. */

import { connect } from "node:net";
import { PassThrough } from "node:stream";
import { text } from "node:stream/consumers";
import type { InjectOptions } from "fastify";
import pino from "pino";
import { beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { z } from "zod";
import { LoregraphError } from "../../src/errors.ts";
import { listen } from "../../src/http/listen.ts";
import { Id, PageQuery, Text } from "../../src/http/shapes.ts";
import { streamRoute } from "../../src/http/stream.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { bearer, openTestApp, type TestApp, testSettings } from "../support/http.ts";
import { gate, runtime } from "../support/runtime.ts";

let database: TestDatabase;
let api: TestApp;
let logged: PassThrough;

const admin = { config: { scope: "admin" } } as const;

/** An app with routes that echo, fail and take no body. */
async function openWithRoutes(given: Parameters<typeof openTestApp>[1] = {}): Promise<TestApp> {
  const opened = await openTestApp({ ...runtime(database), log: pino(logged) }, given);
  const { app } = opened;
  const Note = z.strictObject({ note: Text, more: z.record(z.string(), z.unknown()).optional() });
  app.post("/echo", { ...admin, schema: { body: Note } }, ({ body }) => body);
  app.post("/nothing", admin, () => ({ done: true }));
  app.get("/list", { ...admin, schema: { querystring: PageQuery } }, ({ query }) => query);
  app.get("/one/:id", { ...admin, schema: { params: z.object({ id: Id }) } }, ({ params }) => params);
  app.get("/breaks", admin, () => Promise.reject(new Error("the secret is 1234")));
  app.get("/teapot", admin, () => Promise.reject(Object.assign(new Error("short"), { statusCode: 418 })));
  app.get("/later", admin, () => Promise.reject(later));
  app.get(
    "/wrong",
    { ...admin, schema: { response: { 200: z.object({ count: z.int() }) } } },
    () => ({ count: "many: 1234" }) as never,
  );
  return opened;
}

const later = new LoregraphError("RATE_LIMITED", "not yet", { after: new Date(Date.now() + 90_000) });

beforeAll(async () => {
  database = await testDatabase();
  logged = new PassThrough();
  api = await openWithRoutes();
});

/** Posts a body as it stands. */
const post = (payload: string, headers: Record<string, string> = {}, url = "/echo") =>
  api.ask({ method: "POST", url, payload, headers: { "content-type": "application/json", ...headers } });

describe("a body", () => {
  test("is read", async () => {
    expect((await post('{"note":"“héllo”"}')).json()).toEqual({ note: "“héllo”" });
  });

  test.each([
    ["is not JSON", "{not json", /not valid JSON/],
    ["is cut off", '{"note":"x"', /./],
    ["is a list", "[]", /body\/: Invalid input: expected object/],
    ["is a number", "1", /body\/: Invalid input: expected object/],
    ["is null", "null", /body\/: Invalid input/],
    ["has the wrong type", '{"note":1}', /body\/note: Invalid input: expected string/],
    ["has a field that nobody knows", '{"note":"x","nope":1}', /Unrecognized key: "nope"/],
    ["has NUL in a text", '{"note":"\\u0000"}', /expected text without NUL/],
    ["has half a surrogate pair", '{"note":"\\ud800"}', /expected text without NUL and lone surrogates/],
    ["reaches for a prototype", '{"note":"x","__proto__":{"admin":true}}', /not valid JSON/],
    ["reaches for it deeper", '{"note":"x","more":{"__proto__":{}}}', /not valid JSON/],
    ["reaches for a constructor", '{"note":"x","constructor":{"prototype":{}}}', /not valid JSON/],
  ])("is refused where it %s", async (_, payload, detail) => {
    const response = await post(payload);

    expect(response.headers["content-type"]).toMatch(/^application\/problem\+json/);
    expect(response.json()).toMatchObject({
      status: 400,
      code: "INPUT_INVALID",
      detail: expect.stringMatching(detail),
    });
    expect(response.body).not.toMatch(/node_modules|\.ts:|at Object/);
  });

  test("is no body where it is empty, whatever its type", async () => {
    expect((await post("")).json()).toMatchObject({ code: "INPUT_INVALID" });
    expect((await post("", {}, "/nothing")).json()).toEqual({ done: true });
  });

  test.each([
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "nonsense",
  ])("is refused as %s", async (type) => {
    expect((await post("note=x", { "content-type": type })).json()).toMatchObject({
      status: 415,
      code: "MEDIA_TYPE_UNSUPPORTED",
    });
  });

  test("may be JSON in any character set that it names", async () => {
    expect(
      (await post('{"note":"x"}', { "content-type": "application/json; charset=utf-8" })).statusCode,
    ).toBe(200);
  });

  test("is refused where it is larger than the setting", async () => {
    const payload = JSON.stringify({ note: "x".repeat(testSettings.maxBodyBytes) });

    expect((await post(payload)).json()).toMatchObject({ status: 413, code: "BODY_TOO_LARGE" });
  });
});

describe("a query", () => {
  test.each([
    ["is doubled", "?limit=1&limit=2"],
    ["is huge", `?cursor=${"x".repeat(10_000)}`],
    ["is negative", "?limit=-1"],
    ["is beyond all numbers", "?limit=1e999"],
    ["is no number", "?limit=NaN"],
    ["is unknown", "?limt=1"],
    ["reaches for a prototype", "?__proto__[limit]=1"],
    ["is SQL", "?limit=1;drop table runs"],
  ])("is refused where it %s", async (_, query) => {
    expect((await api.ask({ url: `/list${query}` })).json()).toMatchObject({
      status: 400,
      code: "INPUT_INVALID",
      errors: [expect.objectContaining({ path: expect.stringMatching(/^querystring\//) })],
    });
  });
});

describe("a path", () => {
  test.each([
    ["has a NUL", "/one/%00"],
    ["cannot be decoded", "/one/%zz"],
    ["is half a character", "/one/%ff"],
    ["climbs", "/one/..%2f..%2fetc%2fpasswd"],
    ["is too long", `/one/${"x".repeat(5_000)}`],
    ["is SQL", "/one/'%20or%201=1%20--"],
  ])("is refused where it %s", async (_, url) => {
    expect((await api.ask({ url })).json()).toMatchObject({ status: 400, code: "INPUT_INVALID" });
  });

  test.each([
    ["GET", "/not/here"],
    ["GET", "/"],
    ["GET", "//list"],
    ["GET", "/list/"],
    ["DELETE", "/list"],
    ["OPTIONS", "/list"],
    ["PUT", "/echo"],
  ] as const)("and a method that nobody answers are unknown: %s %s", async (method, url) => {
    expect((await api.ask({ method, url })).json()).toMatchObject({ status: 404, code: "ROUTE_UNKNOWN" });
  });

  test("is answered to HEAD without a body", async () => {
    const response = await api.ask({ method: "HEAD", url: "/list" });

    expect([response.statusCode, response.body]).toEqual([200, ""]);
  });
});

describe("what goes wrong", () => {
  const lines = () => String(logged.read() ?? "");

  test.each(["/breaks", "/wrong"])("is told without its message, and is logged: %s", async (url) => {
    lines();
    const response = await api.ask({ url });
    const { instance, ...problem } = response.json();
    const line = lines()
      .split("\n")
      .find((each) => each.includes("request-failed"));

    expect(problem).toEqual({
      type: "/docs/errors#INTERNAL",
      title: "internal",
      status: 500,
      code: "INTERNAL",
      detail: "something went wrong that is not the request's fault",
      solve: "Look up the answer's request id in the log.",
      retry: false,
    });
    expect(JSON.parse(line ?? "")).toMatchObject({
      reqId: instance,
      code: "INTERNAL",
      kind: expect.any(String),
      at: expect.arrayContaining([expect.stringMatching(/^at /)]),
    });
    expect(line).not.toContain("1234");
  });

  test("is the request's fault where its status says so", async () => {
    expect((await api.ask({ url: "/teapot" })).json()).toMatchObject({
      status: 400,
      code: "INPUT_INVALID",
      detail: "short",
    });
  });

  test("says when to ask again, where that is known", async () => {
    const response = await api.ask({ url: "/later" });

    expect(response.json()).toMatchObject({ status: 429, code: "RATE_LIMITED", retry: true });
    expect(Number(response.headers["retry-after"])).toBeGreaterThan(60);
  });

  test("is not blamed on anybody where the database is away", async () => {
    const gone = await testDatabase();
    const { ask } = await openTestApp(runtime(gone));
    await gone.pool.query("select 1");
    await gone.pool.end();
    // A pool that was ended is a mistake of ours; one whose server is gone is not.
    gone.pool.connect = () => Promise.reject(Object.assign(new Error(gone.url), { code: "ECONNREFUSED" }));
    gone.pool.query = gone.pool.connect as never;
    const response = await ask({ url: "/admin/tenants" });

    expect(response.json()).toMatchObject({
      status: 503,
      code: "DATABASE_UNAVAILABLE",
      detail: "the database is away",
      retry: true,
    });
    expect(response.headers["retry-after"]).toBe("5");
  });
});

describe("an answer", () => {
  test("may not be framed, run or sniffed", async () => {
    const { headers } = await api.ask({ url: "/list" });

    expect(headers).toMatchObject({
      "content-security-policy": "default-src 'none';frame-ancestors 'none'",
      "x-content-type-options": "nosniff",
      "referrer-policy": "no-referrer",
    });
    expect(headers).not.toHaveProperty("strict-transport-security");
    expect(headers).not.toHaveProperty("x-powered-by");
  });

  test("is logged by its route, without what was asked for", async () => {
    logged.read();
    await api.ask({ url: "/list?cursor=secret" });
    const line = String(logged.read());

    expect(JSON.parse(line)).toMatchObject({ method: "GET", route: "/list", status: 200, msg: "answered" });
    expect(line).not.toContain("secret");
  });
});

describe("more requests than the setting", () => {
  test("are refused by key, and told when to come back", async () => {
    const { ask, keys, tenant } = await openWithRoutes({ requestsPerMinute: 2 });
    const url = `/admin/tenants/${tenant}/runs`;
    const first = await ask({ url }, keys.read);
    await ask({ url }, keys.read);
    const third = await ask({ url }, keys.read);

    expect(first.headers).toMatchObject({ "x-ratelimit-limit": "2", "x-ratelimit-remaining": "1" });
    expect(third.json()).toMatchObject({
      status: 429,
      code: "TOO_MANY_REQUESTS",
      detail: "more than 2 requests in a minute",
      retry: true,
    });
    expect(Number(third.headers["retry-after"])).toBeGreaterThan(0);
    expect((await ask({ url }, keys.write)).statusCode).toBe(200);
  });

  test("are refused to strangers by their address, whatever they ask", async () => {
    const { app, keys, ask } = await openWithRoutes({ requestsPerMinute: 2 });
    const asked = async (options: InjectOptions) => (await app.inject(options)).statusCode;

    expect(await asked({ url: "/list" })).toBe(401);
    expect(await asked({ url: "/list", headers: bearer(keys.expired) })).toBe(401);
    expect(await asked({ url: "/list" })).toBe(429);
    expect(await asked({ url: "/nowhere" })).toBe(429);
    expect(await asked({ url: "/list", remoteAddress: "192.0.2.7" })).toBe(401);
    expect((await ask({ url: "/list" })).statusCode).toBe(200);
  });

  test("never keep anybody from asking how we are", async () => {
    const { app } = await openWithRoutes({ requestsPerMinute: 1 });
    const asked = async () => (await app.inject("/healthz")).statusCode;

    expect([await asked(), await asked(), await asked()]).toEqual([200, 200, 200]);
  });
});

describe("an answer that takes a minute", () => {
  /** What is answered within two minutes of which nobody waits one. */
  async function within2Minutes(method: "GET" | "POST", options: { exposeHeadRoute?: boolean } = {}) {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    onTestFinished(() => void vi.useRealTimers());
    const { app, ask } = await openTestApp(runtime(database));
    const { reached, open, pass } = gate();
    app.route({
      ...admin,
      ...options,
      method,
      url: "/slow",
      handler: () => pass().then(() => ({ done: 1 })),
    });
    const answer = ask({ method, url: "/slow" });
    await reached;
    vi.advanceTimersByTime(120_000);
    open();
    return await answer;
  }

  test("is given up where it is a read", async () => {
    expect((await within2Minutes("GET")).json()).toMatchObject({ status: 503, code: "OVERLOADED" });
  });

  test("is waited for where it is a write, which would be done all the same", async () => {
    expect((await within2Minutes("POST")).json()).toEqual({ done: 1 });
  });

  test("is waited for where it is a stream", async () => {
    expect((await within2Minutes("GET", streamRoute)).json()).toEqual({ done: 1 });
  });
});

describe("over a connection", () => {
  test("what is not HTTP is told so", async () => {
    const { app } = await openWithRoutes();
    const { port } = await listen(app, { host: "127.0.0.1", port: 0 });
    const socket = connect(port, "127.0.0.1");
    onTestFinished(() => void socket.destroy());
    socket.write("GET / HTTP/9\r\nwhat?\r\n\r\n");
    const [head = "", body = ""] = (await text(socket)).split("\r\n\r\n");

    expect(head).toMatch(/^HTTP\/1.1 400 Bad Request\r\n/);
    expect(JSON.parse(body)).toMatchObject({ code: "INPUT_INVALID", detail: "this is not HTTP" });
  });

  test("headers that are too large are told so", async () => {
    const { app, keys } = await openWithRoutes();
    const { url } = await listen(app, { host: "127.0.0.1", port: 0 });
    const headers = { ...bearer(keys.admin), "x-long": "x".repeat(20_000) };

    expect(await (await fetch(`${url}/list`, { headers })).json()).toMatchObject({
      code: "INPUT_INVALID",
      detail: "the headers are too large",
    });
  });

  test("what is under way when it closes is answered", async () => {
    const { app, keys } = await openTestApp(runtime(database));
    const { reached, open, pass } = gate();
    app.get("/slow", admin, async () => {
      await pass();
      return { done: true };
    });
    const { url } = await listen(app, { host: "127.0.0.1", port: 0 });
    const answer = fetch(`${url}/slow`, { headers: bearer(keys.admin) });
    await reached;
    const closed = app.close();
    open();

    expect(await (await answer).json()).toEqual({ done: true });
    await closed;
  });
});

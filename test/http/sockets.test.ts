/** What a hostile caller does beneath HTTP: bytes that are none, too slow, too many, or never read. */

import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { PassThrough } from "node:stream";
import { text } from "node:stream/consumers";
import { setImmediate } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import pino from "pino";
import { beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import type { AppOptions } from "../../src/http/app.ts";
import { listen } from "../../src/http/listen.ts";
import { appendEvents } from "../../src/store/events.ts";
import { type Answer, complaintAbout } from "../support/answers.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { openTestApp, type TestApp, testSettings } from "../support/http.ts";
import { runtime } from "../support/runtime.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});

type Server = TestApp & {
  readonly port: number;
  /** The server's ends of the connections that were ever made. */
  readonly ends: readonly Socket[];
  /** The lines of its log. */
  readonly lines: () => readonly Record<string, unknown>[];
};

async function serve(options: AppOptions = {}): Promise<Server> {
  const log = new PassThrough();
  const api = await openTestApp({ ...runtime(database), log: pino(log) }, {}, options);
  const ends: Socket[] = [];
  api.app.server.on("connection", (socket) => ends.push(socket));
  const { port } = await listen(api.app, testSettings);
  let written = "";
  const lines = () => {
    written += log.read() ?? "";
    return written
      .split("\n")
      .slice(0, -1)
      .map((line) => JSON.parse(line));
  };
  return { ...api, port, ends, lines };
}

/** A connection that is broken, whatever became of it, when the test ends. It never ends by itself. */
function open({ port }: Server, bytes = ""): Socket {
  const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
  socket.on("error", () => {}); // to be broken is what some are made for
  onTestFinished(() => void socket.destroy());
  socket.write(bytes, "latin1");
  return socket;
}

/** What is answered to these bytes until the server hangs up. */
async function answerTo(server: Server, bytes: string): Promise<Answer> {
  const all = await text(open(server, bytes));
  const [head = "", body = ""] = all.split("\r\n\r\n");
  const [, status = 0] = /^HTTP\/1\.1 (\d+)/.exec(head) ?? [];
  const [, type = ""] = /^content-type: (.*)$/im.exec(head) ?? [];
  return { status: Number(status), headers: { "content-type": type }, body };
}

async function isAlive({ port, keys }: Server): Promise<boolean> {
  const headers = { authorization: `Bearer ${keys.admin}` };
  const urls = ["healthz", "admin/tenants"].map((path) => `http://127.0.0.1:${port}/${path}`);
  const answers = await Promise.all(urls.map((url) => fetch(url, { headers })));
  return answers.every(({ ok }) => ok);
}

describe("bytes that are no proper request", () => {
  let server: Server;
  beforeAll(async () => {
    server = await serve();
  });

  const get = (path: string, more = "") =>
    `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer ${server.keys.admin}\r\n${more}\r\n`;
  const post = (more: string) =>
    get(`/admin/tenants/${server.tenant}/pause`, `Content-Type: application/json\r\n${more}`).replace(
      "GET",
      "POST",
    );
  const chunked = (body: string) => post(`Transfer-Encoding: chunked\r\n`) + body;

  test.each<[name: string, status: number, bytes: () => string]>([
    ["TLS", 400, () => "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"],
    ["HTTP/2", 400, () => "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
    ["HTTP/0.9", 400, () => "GET /healthz\r\n\r\n"],
    ["NUL in a path", 400, () => get("/a\0b")],
    ["a space in a path", 400, () => get("/a b")],
    ["raw bytes in a path", 400, () => get("/\xed\xa0\x80")],
    ["no slash", 400, () => get("healthz")],
    ["a backslash", 400, () => get("\\healthz")],
    ["another host's path", 404, () => get("//evil.example/healthz")],
    ["a server as a whole", 404, () => get("*").replace("GET", "OPTIONS")],
    ["an unheard-of method", 400, () => get("/healthz").replace("GET", "HACK")],
    ["TRACE", 404, () => get("/healthz").replace("GET", "TRACE")],
    ["NUL in a header", 400, () => get("/healthz", "X: a\0b\r\n")],
    ["NUL in an Idempotency-Key", 400, () => post("Idempotency-Key: a\0b\r\n")],
    ["two Idempotency-Keys", 400, () => post("Idempotency-Key: a\r\nIdempotency-Key: b\r\n")],
    ["no host", 400, () => get("/healthz").replace("Host: x\r\n", "")],
    ["two hosts", 400, () => get("/healthz", "Host: y\r\n")],
    ["a folded header", 400, () => get("/healthz", "X: a\r\n b\r\n")],
    ["a space before a colon", 400, () => get("/healthz", "X : a\r\n")],
    ["bare line feeds", 400, () => get("/healthz").replaceAll("\r", "")],
    ["bare carriage returns", 400, () => get("/healthz").replaceAll("\n", "")],
    ["thousands of headers", 400, () => get("/healthz", "a: 1\r\n".repeat(3_000))],
    ["a header of 1 MB", 400, () => get("/healthz", `a: ${"x".repeat(1_000_000)}\r\n`)],
    ["an expectation", 200, () => get("/healthz", "Expect: miracles\r\n")],
    ["two lengths", 400, () => `${post("Content-Length: 2\r\nContent-Length: 3\r\n")}{}`],
    [
      "a length and chunks",
      400,
      () => `${post("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n")}0\r\n\r\n`,
    ],
    ["a length below 0", 400, () => post("Content-Length: -1\r\n")],
    ["a length beyond all numbers", 400, () => post(`Content-Length: ${"9".repeat(30)}\r\n`)],
    ["a length beyond the limit", 413, () => post("Content-Length: 10485760\r\n")],
    ["a body that is longer than its length", 400, () => `${post("Content-Length: 1\r\n")}{}`],
    ["another transfer encoding", 400, () => `${post("Transfer-Encoding: gzip\r\n")}{}`],
    [
      "chunks that are not the last encoding",
      400,
      () => `${post("Transfer-Encoding: chunked, identity\r\n")}0\r\n\r\n`,
    ],
    ["a chunk beyond all numbers", 400, () => chunked(`${"F".repeat(17)}\r\n{}`)],
    ["a chunk with a long extension", 400, () => chunked(`2;${"x".repeat(20_000)}\r\n{}\r\n0\r\n\r\n`)],
    ["long trailers", 400, () => chunked(`2\r\n{}\r\n0\r\nX: ${"x".repeat(20_000)}\r\n\r\n`)],
    ["chunks of 10 MB", 413, () => chunked(`10000\r\n${"x".repeat(65_536)}\r\n`.repeat(160))],
  ])("are answered as ever: %s", async (_, status, bytes) => {
    const answer = await answerTo(server, bytes());

    expect(complaintAbout({ method: "", path: "" }, answer)).toBeUndefined();
    expect(answer.status).toBe(status);
    expect(await isAlive(server)).toBe(true);
  });

  test("are not answered in the middle of another answer", async () => {
    const url = `/tenants/${server.tenant}/events/stream`;
    const socket = open(server, get(url));
    const [first] = await once(socket, "data");
    socket.write("what?\r\n\r\n");

    expect(String(first)).toMatch(/^HTTP\/1\.1 200 OK/);
    expect(await text(socket)).not.toContain("HTTP/1.1");
  });

  test("make a tunnel for nobody", async () => {
    expect(await text(open(server, "CONNECT evil.example:443 HTTP/1.1\r\nHost: x\r\n\r\n"))).toBe("");
  });
});

test("what does not arrive in time is given up, whoever keeps the line open", async () => {
  const server = await serve({ arrivalMs: 300 });
  const head = `POST /admin/tenants/${server.tenant}/pause HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${server.keys.admin}\r\n`;
  const half = [
    "",
    "GET /heal",
    head,
    `${head}Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"`,
    `${head}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n64\r\n{"`,
  ];
  const sockets = half.flatMap((bytes) => Array.from({ length: 20 }, () => open(server, bytes)));
  const trickles = setInterval(() => sockets.map((socket) => socket.writable && socket.write(" ")), 20);
  onTestFinished(() => clearInterval(trickles));
  const answers = await Promise.all(sockets.map((socket) => text(socket).catch(() => "")));
  await vi.waitFor(() => expect(server.ends.filter(({ destroyed }) => !destroyed)).toEqual([]), 5_000);

  expect(new Set(answers.filter(Boolean).map((answer) => /^HTTP\/1\.1 (\d+)/.exec(answer)?.[1]))).toEqual(
    new Set(["400"]),
  );
  expect(server.ends).toHaveLength(sockets.length);
  expect(await isAlive(server)).toBe(true);
});

test("a client that hangs up in the middle of a request is nobody's failure", async () => {
  const server = await serve();
  const url = `/admin/tenants/${server.tenant}/pause`;
  const socket = open(
    server,
    `POST ${url} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${server.keys.admin}\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"`,
  );
  const [request] = await once(server.app.server, "request");
  const closed = new Promise((resolve) => request.once("close", resolve));
  socket.destroy();
  await closed;
  await setImmediate();

  expect(server.lines().filter(({ level }) => Number(level) >= 40)).toEqual([]);
});

describe("answers that nobody reads", () => {
  setFlagsFromString("--expose-gc");
  const gc: () => void = runInNewContext("gc");
  const heldMb = () => {
    gc();
    const { heapUsed, external } = process.memoryUsage();
    return (heapUsed + external) / 1e6;
  };
  const request = ({ keys }: TestApp, path: string) =>
    `GET ${path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${keys.admin}\r\n\r\n`;
  const allStuck = ({ ends }: Server, count: number) =>
    vi.waitFor(() => expect(ends.filter((end) => end.writableNeedDrain)).toHaveLength(count), 15_000);

  test("are not kept: those of a stream", async () => {
    const server = await serve();
    const { tenant } = server;
    const long = {
      source_type: "scene" as const,
      source_id: tenant,
      version: 1,
      metadata: { x: "x".repeat(60_000) },
    };
    const events = Array.from({ length: 120 }, () => ({ tenant_id: tenant, event: "noticed", ...long }));
    await appendEvents(database.pool, events);
    const before = heldMb();
    for (let n = 0; n < 20; n++)
      open(server, request(server, `/tenants/${tenant}/events/stream?after=0`)).pause();
    await allStuck(server, 20);

    expect(heldMb() - before).toBeLessThan(40);
    expect(await isAlive(server)).toBe(true);
  });

  test("are not kept: those of requests that are sent at once", async () => {
    const server = await serve();
    const before = heldMb();
    open(server, request(server, "/docs/openapi.json").repeat(20_000)).pause();
    await vi.waitFor(() => expect(server.ends.map(({ destroyed }) => destroyed)).toEqual([true]), 10_000);

    expect(heldMb() - before).toBeLessThan(40);
    expect(await isAlive(server)).toBe(true);
  });

  test("are two hundred streams at most, beside which others are answered", async () => {
    const server = await serve();
    const tenants = Array.from({ length: 11 }, () => crypto.randomUUID());
    const sockets = tenants.flatMap((tenant) =>
      Array.from({ length: 20 }, () => open(server, request(server, `/tenants/${tenant}/events/stream`))),
    );
    const answers = await Promise.all(sockets.map(async (socket) => String((await once(socket, "data"))[0])));
    const statuses = answers.map((answer) => /^HTTP\/1\.1 (\d+)/.exec(answer)?.[1]);

    expect(statuses.filter((status) => status === "200")).toHaveLength(200);
    expect(statuses.filter((status) => status === "429")).toHaveLength(20);
    expect(await isAlive(server)).toBe(true);
  });
});

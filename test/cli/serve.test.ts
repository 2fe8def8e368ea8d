import { once } from "node:events";
import { createServer } from "node:net";
import { beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { makeKey } from "../../src/keys/keys.ts";
import { run } from "../support/cli.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { startProcess } from "../support/process.ts";

let database: TestDatabase;

beforeAll(async () => {
  database = await testDatabase();
});

/** `loregraph serve` on a free port, once it listens. */
async function serve(...args: string[]) {
  const env = { DATABASE_URL: database.url, LOREGRAPH_LOG_LEVEL: "error" };
  const server = startProcess("../../src/cli/main.ts", ["serve", "--port", "0", "--json", ...args], { env });
  const listening = JSON.parse(await server.line());
  return { ...server, listening, url: String(listening.url) };
}

test("says how to make the first key, answers, and ends when it is told to", async () => {
  const { url, listening, kill, errors } = await serve();
  const health = await fetch(`${url}/healthz`);
  const refused = await fetch(`${url}/admin/tenants`);

  expect(listening).toEqual({
    url: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/),
    host: "127.0.0.1",
    port: expect.any(Number),
  });
  expect(await health.json()).toEqual({ status: "alive" });
  expect(refused.status).toBe(401);
  expect(await kill("SIGTERM")).toEqual({ code: 0, signal: null });
  expect(errors()).toBe("there is no key yet; `loregraph keys create --name me --admin` makes one\n");
});

test("ends the streams that are open when it is told to end", async () => {
  const { token } = await makeKey(database.pool, { name: "test", scope: "admin", tenant_id: null });
  const { url, kill } = await serve();
  const tenant = "3f0b1c52-8a57-4c9f-9d9e-0c8d5f1b7a01";
  const headers = { authorization: `Bearer ${token}` };
  const stream = await fetch(`${url}/tenants/${tenant}/events/stream`, { headers });
  expect(stream.headers.get("content-type")).toMatch(/^text\/event-stream/);

  const [ending] = await Promise.all([kill("SIGTERM"), stream.text()]);

  expect(ending).toEqual({ code: 0, signal: null });
});

test("warns where others can reach it", async () => {
  const { listening, kill, errors } = await serve("--host", "0.0.0.0");
  await kill("SIGTERM");

  expect(listening.host).toBe("0.0.0.0");
  expect(errors()).toContain("warning: 0.0.0.0 can be reached by others");
});

describe("refuses", () => {
  const refused = (...args: string[]) => run(["serve", ...args], { DATABASE_URL: database.url });

  test("a port that is in use", async () => {
    const other = createServer().listen(0, "127.0.0.1");
    await once(other, "listening");
    onTestFinished(() => void other.close());
    const port = String((other.address() as { port: number }).port);

    expect(await refused("--port", port)).toMatchObject({
      code: 2,
      out: "",
      err: expect.stringContaining(
        `cannot listen on 127.0.0.1, port ${port}: it is in use; name another port, or 0 for a free one`,
      ),
    });
  });

  test.each([
    [["--port", "no"], "expected --port to be a whole number from 0 on, got: no"],
    [["--port", "70000"], "a port is a number up to 65535"],
    [["--host", "203.0.113.7", "--port", "0"], "this machine does not have that address"],
  ])("%j", async (args, message) => {
    expect(await refused(...args)).toMatchObject({ code: 2, out: "", err: expect.stringContaining(message) });
  });
});

import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { readFile, rm } from "node:fs/promises";
import { beforeAll, expect, onTestFinished, test } from "vitest";
import { z } from "zod";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { freshHome } from "../support/postgres.ts";
import { startProcess } from "../support/process.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});

const Listening = z.object({ url: z.string(), host: z.string(), port: z.int(), key: z.string().nullable() });

async function up(env: NodeJS.ProcessEnv, ...args: string[]) {
  const shared = { LOREGRAPH_LOG_LEVEL: "info", LOREGRAPH_DRAIN_MS: "100" };
  const started = startProcess("../../src/cli/main.ts", ["up", "--port", "0", "--json", ...args], {
    env: { ...shared, ...env },
  });
  return { ...started, ...Listening.parse(JSON.parse(await started.line())) };
}

/** Resolves once its stderr, where the worker logs too, holds what `pattern` matches, and answers the match. */
async function said(
  { child, errors }: Pick<Awaited<ReturnType<typeof up>>, "child" | "errors">,
  pattern: RegExp,
) {
  for (;;) {
    const match = pattern.exec(errors());
    if (match) return match;
    await once(child.stderr, "data");
  }
}

test("on the embedded Postgres, prints a key of this start, runs what is pushed, and ends with all of it", async () => {
  const home = await freshHome();
  onTestFinished(() => rm(home, { recursive: true }));
  const { url, host, key, ...started } = await up({ DATABASE_URL: "", LOREGRAPH_HOME: home });
  const headers = { authorization: `Bearer ${key}`, "content-type": "application/json" };
  const of = `${url}/tenants/${randomUUID()}`;
  const stream = await fetch(`${of}/events/stream`, { headers });
  const source_id = randomUUID();
  const entities = [{ source_type: "scene", source_id, title: "Quay", text: "“Wait,” said Ines." }];
  const pushed = await fetch(`${of}/entities`, {
    method: "PUT",
    headers,
    body: JSON.stringify({ entities }),
  });

  expect(host).toBe("127.0.0.1");
  expect(pushed.status).toBe(200);
  await heard(stream, "entity.enriched");
  const entity = await (await fetch(`${of}/entities/scene/${source_id}`, { headers })).json();
  expect(entity).toMatchObject({ enrichments: [{ pipeline: "dialog-mood" }] });
  expect(await started.kill("SIGTERM")).toEqual({ code: 0, signal: null });
  expect(started.errors()).toContain("worker-stopped");
}, 60_000); // it makes a Postgres of its own, and two processes start

test.skipIf(process.platform !== "linux")(
  "prints no key elsewhere, and starts a worker that died again",
  async () => {
    const { key, ...started } = await up({ DATABASE_URL: database.url });
    await said(started, /worker-started/);
    const [worker] = await children(started.child.pid);
    process.kill(worker ?? 0, "SIGKILL");
    await said(started, /worker-died[\s\S]*worker-started/);

    expect(key).toBe(null);
    expect(await started.kill("SIGTERM")).toEqual({ code: 0, signal: null });
  },
);

test("leaves no worker behind where it is killed", async () => {
  const { kill, ...started } = await up({ DATABASE_URL: database.url });
  await said(started, /worker-started/);
  await kill("SIGKILL"); // its stderr is the worker's too: it closes when both have ended

  expect(started.errors()).toContain("worker-stopped");
});

test("serves nobody else on the embedded Postgres", async () => {
  const home = await freshHome();
  onTestFinished(() => rm(home, { recursive: true }));
  const env = { DATABASE_URL: "", LOREGRAPH_HOME: home };
  const refused = startProcess("../../src/cli/main.ts", ["up", "--host", "0.0.0.0"], { env });

  expect(await refused.finish()).toEqual({ code: 2, signal: null });
  expect(refused.errors()).toContain("the API listens on this machine alone, got: 0.0.0.0");
});

/** Reads a stream of events until one of this name comes. */
async function heard(stream: Response, event: string): Promise<void> {
  if (!stream.body) throw new Error("expected a stream");
  let text = "";
  for await (const chunk of stream.body.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    if (text.includes(`event: ${event}`)) return;
  }
  throw new Error(`the stream ended before ${event}`);
}

/** The processes that this one started, as Linux lists them. */
async function children(pid: number | undefined): Promise<readonly number[]> {
  const list = await readFile(`/proc/${pid}/task/${pid}/children`, "utf8");
  return list.trim().split(" ").map(Number);
}

import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { setBudget } from "../../src/ledger/budgets.ts";
import { listRuns } from "../../src/ledger/read.ts";
import { emptyFolder, run, startInTest } from "../support/cli.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { proxyTo } from "../support/proxy.ts";
import { emptyLedger, runtime, takeScene } from "../support/runtime.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** An enricher whose title says what it does: it fails, it never ends, or it says what it read. */
const echo = `
  import { END, START, StateGraph } from ${JSON.stringify(import.meta.resolve("@langchain/langgraph"))};
  import { z } from ${JSON.stringify(import.meta.resolve("zod"))};
  import { definePipeline, Entity } from ${JSON.stringify(pathToFileURL(join(root, "src/pipeline.ts")).href)};

  const Out = z.object({ said: z.string() });
  export default definePipeline({
    name: "echo",
    version: 1,
    local: "echo",
    trigger: { on: "entity.ingested" },
    retries: { attempts: 2, base: 1, most: 5 },
    output: Out,
    graph: () =>
      new StateGraph({ state: Entity.extend(Out.shape), input: Entity, output: Out })
        .addNode("say", async ({ title, text }) => {
          if (title === "fails") throw new Error("cannot say: " + text);
          if (title === "hangs") {
            process.stderr.write("the graph hangs\\n");
            await new Promise(() => {});
          }
          return { said: title };
        }, { input: Entity })
        .addEdge(START, "say")
        .addEdge("say", END),
  });`;

let database: TestDatabase;
let settings: Record<string, string>;
let folder: string;

beforeAll(async () => {
  database = await testDatabase();
  folder = await emptyFolder();
  await writeFile(join(folder, "echo.ts"), echo);
  const graphs = { base: `${join(root, "graphs/base/pipeline.ts")}:default`, echo: "./echo.ts:default" };
  await writeFile(join(folder, "langgraph.json"), JSON.stringify({ graphs }));
  settings = { DATABASE_URL: database.url, LOREGRAPH_GRAPHS: join(folder, "langgraph.json") };
});

afterEach(() => emptyLedger(database));
afterAll(() => rm(folder, { recursive: true }));

const secret = "Nobody may read this in a log.";

/** Takes in a scene with this title and answers its tenant. */
async function take(title: string): Promise<string> {
  return (await takeScene(runtime(database), { title, text: secret })).tenant_id;
}

const echoOf = async (tenant_id: string) =>
  (await listRuns(database.pool, { tenant_id, pipeline: "echo" }))[0];

describe("until idle", () => {
  test("does what there is to do and ends with 0, its answer alone on stdout, its log on stderr", async () => {
    const tenant = await take("speaks");
    const said = await run(["worker", "--until-idle", "--json"], {
      ...settings,
      LOREGRAPH_LOG_LEVEL: "debug",
    });

    expect(said.code).toBe(0);
    expect(JSON.parse(said.out)).toEqual({ ended: { answered: 2 }, pending: 0, running: 0, held: 0 });
    expect((await echoOf(tenant))?.outcome).toBe("completed");
    const log = linesOf(said.err);
    expect(log).toContainEqual(
      expect.objectContaining({
        msg: "attempt-ended",
        tenant,
        pipeline: "echo",
        attempt: 1,
        run: expect.any(String),
      }),
    );
  });

  test("does not wait for a budget that is spent, and says how much it holds", async () => {
    const tenant = await take("speaks");
    await setBudget(database.pool, { tenant_id: tenant, per: "month" }, 0);
    const said = await run(["worker", "--until-idle"], settings);

    expect(said).toMatchObject({
      code: 0,
      out: "ended: nothing; still pending: 0; held by a spent budget: 1, see `loregraph budget list`\n",
    });
  });

  test("ends with 3 where a run became a dead letter after its last attempt", async () => {
    const tenant = await take("fails");
    const said = await run(["worker", "--until-idle"], settings);

    expect(said).toMatchObject({
      code: 3,
      out: "ended: 1 answered, 1 retry, 1 dead letter; still pending: 0\n",
    });
    expect(await echoOf(tenant)).toMatchObject({ status: "failed", attempt: 2, error_code: "GRAPH_FAILED" });
  });

  test("logs a failure with its run, but neither what was read nor a password", async () => {
    const tenant = await take("fails");
    const { err } = await run(["worker", "--until-idle"], { ...settings, LOREGRAPH_LOG_LEVEL: "trace" });

    expect(linesOf(err)).toContainEqual(
      expect.objectContaining({
        msg: "attempt-failed",
        code: "GRAPH_FAILED",
        tenant,
        pipeline: "echo",
        attempt: 2,
      }),
    );
    expect(err).not.toContain(secret);
    expect(err).not.toContain(new URL(database.url).password || "no password");
  });

  test("runs the named pipelines only", async () => {
    const tenant = await take("speaks");
    const said = await run(["worker", "--until-idle", "--pipelines", "base"], settings);

    expect(said).toMatchObject({ code: 0, out: "ended: 1 answered; still pending: 1\n" });
    expect((await echoOf(tenant))?.status).toBe("pending");
  });
});

const linesOf = (err: string) =>
  err
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));

describe("told to stop", () => {
  test("gives back what does not end within its bound, at no cost, and ends with 0", async () => {
    const tenant = await take("hangs");
    const worker = startInTest(["worker"], { ...settings, LOREGRAPH_DRAIN_MS: "100" });
    await worker.until(/the graph hangs/);
    const since = performance.now();
    worker.kill("SIGTERM");
    const said = await worker.ended;

    expect(said).toMatchObject({ code: 0, out: "ended: 1 answered, 1 released; still pending: 1\n" });
    expect(performance.now() - since).toBeLessThan(100 + 5_000);
    expect(await echoOf(tenant)).toMatchObject({ status: "pending", attempt: 0 });
  });

  test("by a signal that reaches it twice, as one sent to its whole group does, drains all the same", async () => {
    const worker = startInTest(["worker"], settings);
    await worker.until(/worker-started/);
    worker.kill("SIGTERM");
    worker.kill("SIGTERM");

    expect((await worker.ended).code).toBe(0);
    expect(worker.errors()).toContain("worker-stopped");
  });

  test("a second time, by whichever signal, ends at once", async () => {
    await take("hangs");
    const worker = startInTest(["worker"], { ...settings, LOREGRAPH_DRAIN_MS: "60000" });
    await worker.until(/the graph hangs/);
    worker.kill("SIGTERM");
    await worker.until(/worker-draining/);
    worker.kill("SIGINT");

    expect((await worker.ended).code).toBe(130);
  });
});

describe("without its database", () => {
  test("does not start, and says where it looked, without the password", async () => {
    const url = "postgres://keeper:tide-table@127.0.0.1:1/lore";
    const said = await run(["worker"], { ...settings, DATABASE_URL: url });

    expect(said).toMatchObject({ code: 4, out: "" });
    expect(said.err).toMatch(/^error: cannot connect to Postgres at 127\.0\.0\.1:1\/lore: .*ECONNREFUSED/);
    expect(said.err).toContain("Start Postgres, or correct DATABASE_URL. (DATABASE_UNAVAILABLE)");
    expect(said.err).not.toContain("tide-table");
  });

  test("in between, waits and goes on", async () => {
    const worker = startInTest(["worker"], settings);
    await worker.until(/worker-started/);
    await vi.waitUntil(async () => (await endOthers()) > 0);
    await worker.until(/notifications-lost/);
    const tenant = await take("speaks");
    await vi.waitUntil(async () => (await echoOf(tenant))?.status === "success", { timeout: 10_000 });
    worker.kill("SIGTERM");

    expect((await worker.ended).code).toBe(0);
  });
});

test("told to stop while its database is away, ends with 0 within its bound and says so", async () => {
  const proxy = await proxyTo(database.url);
  onTestFinished(proxy.close);
  const worker = startInTest(["worker"], { ...settings, DATABASE_URL: proxy.url, LOREGRAPH_DRAIN_MS: "100" });
  await worker.until(/worker-started/);
  proxy.cut();
  await worker.until(/notifications-lost/);
  const since = performance.now();
  worker.kill("SIGTERM");

  expect(await worker.ended).toMatchObject({ code: 0, out: "ended: nothing; the database is away\n" });
  expect(performance.now() - since).toBeLessThan(100 + 5_000);
});

/** Ends the worker's connections, that on which it listens among them. Answers how many listened. */
async function endOthers(): Promise<number> {
  const { rows } = await database.pool.query(
    `select pg_terminate_backend(pid), application_name from pg_stat_activity
     where datname = current_database() and pid <> pg_backend_pid() and query ilike 'listen%'`,
  );
  return rows.length;
}

describe("with wrong pipelines", () => {
  test("refuses a name that langgraph.json does not have, and guesses which was meant", async () => {
    expect(await run(["worker", "--pipelines", "base,ehco"], settings)).toMatchObject({
      code: 2,
      out: "",
      err: expect.stringContaining("unknown pipeline ehco, did you mean echo?"),
    });
  });

  test("names the entry of langgraph.json whose file is missing", async () => {
    const wrong = join(folder, "wrong");
    await mkdir(wrong, { recursive: true });
    const file = join(wrong, "langgraph.json");
    await writeFile(file, JSON.stringify({ graphs: { mood: "./mood.ts:default" } }));

    expect(await run(["worker"], { ...settings, LOREGRAPH_GRAPHS: file })).toMatchObject({
      code: 2,
      out: "",
      err: expect.stringContaining(`${file}: "mood" names ./mood.ts, which does not exist`),
    });
  });
});

/** The commands that steer: pause, resume, dead-letters, and runs show, retry and cancel. */

import { randomUUID } from "node:crypto";
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { failAttempt } from "../../src/ledger/attempt.ts";
import { pauseTenant } from "../../src/ledger/controls.ts";
import { enqueueRuns } from "../../src/ledger/enqueue.ts";
import type { RunRequest } from "../../src/ledger/run.ts";
import { noUsage } from "../../src/pipeline.ts";
import { run, type Said } from "../support/cli.ts";
import { storeScene } from "../support/content.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { claim, request, runOf, started } from "../support/ledger.ts";
import { emptyLedger } from "../support/runtime.ts";

let database: TestDatabase;
let settings: Record<string, string>;
const tenant = randomUUID();
const pipeline = "dialog-mood";

beforeAll(async () => {
  database = await testDatabase();
  settings = { DATABASE_URL: database.url };
  await storeScene(database.pool, tenant, ["The keeper counted the lamps."]);
});
beforeEach(() => emptyLedger(database));

const lore = (...args: string[]): Promise<Said> => run(args, settings);
const json = async (...args: string[]) => {
  const said = await lore(...args, "--json");
  expect(said).toMatchObject({ code: 0, err: "" });
  return JSON.parse(said.out);
};
const enqueue = (count: number, given: Partial<RunRequest> = {}) =>
  enqueueRuns(
    database.pool,
    Array.from({ length: count }, () => request({ pipeline, tenant_id: tenant, ...given })),
  );

async function deadLetter(given: Partial<RunRequest> = {}, code = "GRAPH_FAILED") {
  const dead = await started(database.pool, { pipeline, tenant_id: tenant, ...given });
  const usage = { ...noUsage, model_calls: 2, tokens_in: 70, cost_usd: 0.0123 };
  const failure = { code, message: "the reader lost its place", retryInMs: null, counts: true, usage };
  await failAttempt(database.pool, dead, failure);
  return dead;
}

describe("pause and resume", () => {
  test("hold a tenant's runs and let them go, and say how many wait", async () => {
    await enqueue(3);
    expect(await lore("pause", "--tenant", tenant.toUpperCase())).toEqual({
      code: 0,
      out: `paused tenant ${tenant}: 3 pending, 0 running\n`,
      err: "",
    });
    expect(await claim(database.pool, pipeline)).toEqual([]);
    expect((await lore("status")).out).toMatch(
      new RegExp(`\n\npaused \\(.*\\)\n {2}tenant ${tenant}, \\d+ s ago\n`),
    );

    expect(await json("resume", "--tenant", tenant)).toEqual({
      ...{ tenant_id: tenant, paused_at: null, weight: 1, max_running: null, flags: {} },
      ...{ pending: 3, running: 0 },
    });
    expect(await claim(database.pool, pipeline)).toHaveLength(3);
    expect((await lore("status")).out).not.toContain("paused");
  });

  test("hold a pipeline's runs, of all tenants, and let them go", async () => {
    await enqueue(1);
    await enqueue(1, { tenant_id: randomUUID() });
    await enqueue(1, { pipeline: "base" });
    expect(await json("pause", "--pipeline", pipeline)).toEqual({
      ...{ pipeline, paused_at: expect.any(String), max_running: null, pending: 2, running: 0 },
    });
    expect(await claim(database.pool, pipeline)).toEqual([]);
    expect(await json("status")).toMatchObject({
      paused: [{ kind: "pipeline", name: pipeline, since: expect.any(String), because: null }],
    });

    const resumed = await lore("resume", "--pipeline", pipeline);
    expect(resumed.out).toBe(`resumed pipeline ${pipeline}: 2 pending, 0 running\n`);
    expect(await claim(database.pool, pipeline)).toHaveLength(2);
  });

  test.each([
    ["neither", [], "expected either --tenant or --pipeline"],
    ["both", ["--tenant", tenant, "--pipeline", pipeline], "expected either --tenant or --pipeline"],
    ["a misspelt pipeline", ["--pipeline", "dialog-mod"], "did you mean dialog-mood?"],
    ["a tenant that is no uuid", ["--tenant", "me"], "expected --tenant to be a uuid, got: me"],
  ])("refuse %s, and hold nothing", async (_, args, said) => {
    for (const command of ["pause", "resume"])
      expect(await lore(command, ...args)).toMatchObject({
        code: 2,
        out: "",
        err: expect.stringContaining(said),
      });
    const held = "select from tenant_controls union all select from pipeline_controls";
    expect((await database.pool.query(held)).rowCount).toBe(0);
  });

  test("status shows what is paused even where nothing has been imported, and of one tenant only its own", async () => {
    const other = randomUUID();
    for (const each of [tenant, other]) await pauseTenant(database.pool, each);
    const { out } = await lore("status", "--tenant", other);
    expect(out).toContain("nothing has been imported yet");
    expect(out).toContain(`tenant ${other}`);
    expect(out).not.toContain(tenant);
    for (const line of out.split("\n")) expect(line.length).toBeLessThanOrEqual(80);
  });
});

describe("dead-letters", () => {
  test("are listed by pipeline and cause", async () => {
    await deadLetter();
    await deadLetter({ pipeline: "base" }, "MODEL_REFUSED");
    await deadLetter({ tenant_id: randomUUID() });

    const { out } = await lore("dead-letters", "list");
    expect(out).toMatch(/\ndialog-mood {2,}GRAPH_FAILED {2,}2 {2,}the reader lost its place {2,}\d+ s\n/);
    for (const line of out.split("\n")) expect(line.length).toBeLessThanOrEqual(80);
    expect(await json("dead-letters", "list", "--tenant", tenant)).toHaveLength(2);
    expect(await json("dead-letters", "list", "--pipeline", pipeline)).toMatchObject([{ runs: 2 }]);
    expect(await json("dead-letters", "list", "--cause", "MODEL_REFUSED")).toEqual([
      {
        ...{ pipeline: "base", error_code: "MODEL_REFUSED", runs: 1 },
        error_message: "the reader lost its place",
        first_at: expect.any(String),
        last_at: expect.any(String),
      },
    ]);
    expect(await json("dead-letters", "list", "--limit", "1")).toHaveLength(1);
  });

  test("are tried again as far as they are named", async () => {
    const [here, there] = [await deadLetter(), await deadLetter({ tenant_id: randomUUID() })];
    await deadLetter({ pipeline: "base" });

    const named = ["--tenant", tenant, "--pipeline", pipeline, "--cause", "GRAPH_FAILED"];
    expect(await json("dead-letters", "redrive", ...named)).toEqual({ redriven: 1 });
    expect((await runOf(database.pool, here)).status).toBe("pending");
    expect((await runOf(database.pool, there)).status).toBe("failed");
    expect(await json("dead-letters", "redrive", "--limit", "1")).toEqual({ redriven: 1 });
    expect(await json("dead-letters", "redrive")).toEqual({ redriven: 1 });
  });

  test("of no such pipeline are not silently none", async () => {
    for (const what of ["list", "redrive"])
      expect(await lore("dead-letters", what, "--pipeline", "dialog-mod")).toMatchObject({
        code: 2,
        out: "",
        err: expect.stringContaining("did you mean dialog-mood?"),
      });
  });
});

describe("runs", () => {
  test("show tells all of a run", async () => {
    const { id, source_id } = await deadLetter();
    const { code, out } = await lore("runs", "show", id);

    expect(code).toBe(0);
    expect(out).toContain(`dialog-mood failed, run ${id}\nabout     scene ${source_id}, version 1\n`);
    expect(out).toContain("attempt   1 of 3\n");
    expect(out).toContain("cost      $0.01\n");
    expect(out).toMatch(/\nattempt 1, .*: GRAPH_FAILED\n {2}the reader lost its place\n$/);
    expect(await json("runs", "show", id, "--tenant", tenant)).toMatchObject({
      ...{ id, status: "failed", tokens_in: 70, prompt_hash: "p", cause: null },
    });
  });

  test("retry makes a dead letter pending, once", async () => {
    const { id } = await deadLetter();
    expect(await json("runs", "retry", id)).toEqual({ id, status: "pending" });
    expect((await runOf(database.pool, { id })).status).toBe("pending");
    expect(await lore("runs", "retry", id)).toMatchObject({
      code: 2,
      out: "",
      err: expect.stringContaining("from pending to pending"),
    });
  });

  test("cancel ends a pending run, and asks the worker of one that runs", async () => {
    const [pending] = await enqueue(1);
    expect(await json("runs", "cancel", pending?.id ?? "")).toEqual({ id: pending?.id, status: "cancelled" });

    const running = await started(database.pool, { pipeline: "base", tenant_id: tenant });
    const { out } = await lore("runs", "cancel", running.id, "--tenant", tenant);
    expect(out).toBe("it runs: its worker was told to abort it\n");
    expect((await runOf(database.pool, running)).cancel_requested_at).toBeInstanceOf(Date);
  });

  test.each(["show", "retry", "cancel"])("%s does not find what is not there", async (what) => {
    const theirs = await deadLetter({ tenant_id: randomUUID() });
    for (const id of [randomUUID(), theirs.id])
      expect(await lore("runs", what, id, "--tenant", tenant)).toMatchObject({
        code: 2,
        out: "",
        err: expect.stringContaining(`tenant ${tenant} has no run ${id}`),
      });
    expect(await lore("runs", what, "1")).toMatchObject({
      code: 2,
      err: expect.stringContaining("expected the run's id to be a uuid, got: 1"),
    });
  });

  test("are still listed where nothing else is asked, and a wrong command is refused", async () => {
    const { id } = await deadLetter();
    expect(await json("runs", "--status", "failed")).toMatchObject([{ id }]);
    expect(await lore("runs", "shw", id)).toMatchObject({ code: 2, out: "" });
  });
});

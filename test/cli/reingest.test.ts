/** `loregraph reingest` and what stands below it. */

import { randomUUID } from "node:crypto";
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { openModels } from "../../src/models/models.ts";
import { loadRegistry } from "../../src/registry.ts";
import { readReingest } from "../../src/reingest/reingest.ts";
import type { Context } from "../../src/worker/context.ts";
import { run, type Said, startInTest } from "../support/cli.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import {
  enqueueFor,
  fillTenant,
  legalReingest,
  newReingest,
  startProducer,
  untilReingest,
} from "../support/reingests.ts";
import { runtime, startWorker } from "../support/runtime.ts";

let database: TestDatabase;
let settings: Record<string, string>;
/** With the pipelines that the command line has. */
let context: Context;
let tenant: string;
beforeAll(async () => {
  database = await testDatabase();
  settings = { DATABASE_URL: database.url };
  const models = openModels({
    apiKey: undefined,
    baseUrl: undefined,
    chatModel: "unused",
    embeddingModel: "unused",
    timeoutMs: 1_000,
    prices: undefined,
  });
  context = { ...runtime(database), models, registry: await loadRegistry("langgraph.json") };
});
beforeEach(async () => {
  tenant = randomUUID();
});

const lore = (...args: string[]): Promise<Said> => run(["reingest", ...args], settings);
const start = (...args: string[]): Promise<Said> => lore("--tenant", tenant, ...args);

describe("reingest --dry-run", () => {
  test("prints a plan that a person understands, and makes nothing", async () => {
    await fillTenant(context, tenant, 5);
    const { code, out } = await start("--types", "scene,character", "--dry-run");

    expect(code).toBe(0);
    expect(out).toMatch(/^pipelines: base\ntypes: character, scene\n/);
    expect(out).toMatch(/\ntype +pipeline +entities +unchanged +run +chunks +tokens +cost +basis\n/);
    expect(out).toMatch(/\nscene +base +5 +0 +5 .*text length and prices\n/);
    expect(out).toMatch(/\ntotal +10 /);
    expect(out).toContain("a plan only: no model was called and nothing was enqueued");
    expect((await lore("list", "--tenant", tenant)).out).toBe("no reingests\n");
  });

  test("prints the same plan as JSON alone", async () => {
    await fillTenant(context, tenant, 5);
    const { code, out, err } = await start("--dry-run", "--json");

    expect({ code, err: err.includes("error") }).toEqual({ code: 0, err: false });
    expect(JSON.parse(out)).toMatchObject({ tenant_id: tenant, totals: { entities: 5 } });
  });
});

describe("reingest", () => {
  test("starts one, says how to watch it and that nobody works; the same key starts no other", async () => {
    const [first, again] = [await start("--key", "k"), await start("--key", "k")];
    const id = first.out.slice(0, 36);

    expect(first).toMatchObject({ code: 0, err: expect.stringContaining("no worker is running") });
    expect(first.out).toContain(`npx loregraph reingest status ${id} --watch`);
    expect(again.out).toContain(`${id} was started before`);
    expect(await readReingest(database.pool, { tenant_id: tenant, id })).toMatchObject({ status: "planned" });
  });

  test("stores every filter and limit as it was asked for", async () => {
    const ids = [randomUUID(), randomUUID()].toSorted();
    const { out } = await start(
      ...["--types", "scene", "--batch", "7", "--pipelines", "dialog-mood", "--only", "stale", "--force"],
      ...["--since", "2026-01-31", "--ids", ids.join(","), "--priority", "-5", "--max-cost", "1.5"],
      ...["--max-tokens", "900", "--max-runs-per-minute", "60", "--json"],
    );

    expect(JSON.parse(out).filters).toEqual({
      types: ["scene"],
      batch_size: 7,
      pipelines: ["dialog-mood"],
      only: "stale",
      force: true,
      changed_since: "2026-01-31T00:00:00.000Z",
      ids,
      priority: -5,
      max_cost_usd: 1.5,
      max_tokens: 900,
      max_runs_per_minute: 60,
      dry_run: false,
      source: "local",
    });
  });

  test("refuses what is wrong, and names each option", async () => {
    const { code, out, err } = await start(
      ...["--batch", "5001", "--types", "poem", "--since", "lately", "--ids", "1,2", "--max-cost", "-1"],
      ...["--priority", "40000", "--source", "elsewhere", "--max-runs-per-minute", "3000000000"],
    );

    expect({ code, out }).toEqual({ code: 2, out: "" });
    const named = [...err.matchAll(/(--[a-z-]+): /g)].map(([, option]) => option);
    expect(new Set(named)).toEqual(
      new Set([
        ...["--types", "--ids", "--priority", "--source", "--batch", "--since", "--max-cost"],
        "--max-runs-per-minute",
      ]),
    );
  });

  test.each([
    [["--batch", "0"], "--batch"],
    [["--pipelines", "dialog-mud"], "did you mean dialog-mood"],
    [["--only", "old"], "--only"],
    [["--max-cost", "much"], "--max-cost"],
    [["--key", ""], "--key"],
    [["--key", "two words"], "--key"],
    [["--source", "main-service"], "LOREGRAPH_MAIN_SERVICE_URL"],
  ])("refuses %j and names what is wrong", async (args, named) => {
    expect(await start(...args)).toMatchObject({ code: 2, out: "", err: expect.stringContaining(named) });
  });

  test("refuses to run a tenant that is not named", async () => {
    expect(await lore("--force")).toMatchObject({ code: 2, err: expect.stringContaining("--tenant") });
  });

  test("--watch shows its progress until it is completed", async () => {
    await fillTenant(context, tenant, 6);
    startProducer(context, database);
    await using _worker = startWorker(context, database);
    const { code, out, err } = await start("--watch");

    expect(err).toMatch(/reingest \d+\/\d+ .*completed/);
    expect(out).toMatch(/is completed: (\d+) of \1 settled/);
    expect(code).toBe(0);
  });

  test("--watch leaves it running when it is interrupted, and says how to go on watching", async () => {
    const command = startInTest(["reingest", "--tenant", tenant, "--watch"], settings);
    await command.until(/planned/);
    command.kill("SIGINT");
    const { code, err } = await command.ended;
    const [, id = ""] = /npx loregraph reingest status (\S+) --watch/.exec(err) ?? [];

    expect(code).toBe(130);
    expect(await readReingest(database.pool, { tenant_id: tenant, id })).toMatchObject({ status: "planned" });
  });
});

describe("reingest status", () => {
  test.each([
    ["completed", { ...legalReingest.completed }, 0],
    ["cancelled", { ...legalReingest.cancelled }, 3],
    ["failed", { ...legalReingest.failed }, 1],
    ["paused by a limit", { ...legalReingest.paused, paused_because: "max_cost_usd" }, 3],
  ])("--watch tells by its exit code that it is %s", async (_, columns, code) => {
    const { id } = await newReingest(database.pool, columns);

    expect(await lore("status", id, "--watch")).toMatchObject({ code, out: expect.stringContaining(id) });
  });

  test("--watch tells by its exit code that some of its runs failed", async () => {
    const { tenant_id, id } = await newReingest(database.pool, legalReingest.completed);
    await database.pool.query(
      `insert into reingest_tallies (tenant_id, reingest_id, pipeline, shard, failed) values ($1, $2, 'base', 0, 1)`,
      [tenant_id, id],
    );

    expect(await lore("status", id, "--watch", "--json")).toMatchObject({ code: 3 });
  });

  test("needs no tenant, but holds to the one that is named", async () => {
    const { id } = await newReingest(database.pool, { total: 4, skipped: 1 });

    expect(await lore("status", id)).toMatchObject({
      code: 0,
      out: expect.stringContaining(`${id} is running: 1 of 4 settled`),
    });
    expect(await lore("status", id, "--tenant", tenant)).toMatchObject({ code: 2 });
    expect(await lore("status", randomUUID())).toMatchObject({ code: 2 });
  });
});

describe("steering", () => {
  test("pauses, resumes under other limits and cancels by the id alone", async () => {
    const reingest = await newReingest(database.pool);
    const { id } = reingest;
    await enqueueFor(database.pool, reingest, 2);

    expect(await lore("pause", id)).toMatchObject({ code: 0, out: `${id} is paused\n` });
    expect(await lore("resume", id, "--max-cost", "9")).toMatchObject({ code: 0, out: `${id} is running\n` });
    expect(await readReingest(database.pool, reingest)).toMatchObject({ max_cost_usd: 9 });
    expect(JSON.parse((await lore("cancel", id, "--json")).out)).toMatchObject({ id, status: "cancelled" });
    const again = await lore("cancel", id);
    expect(again.err).toContain("from cancelled to cancelled");
    expect(again.code).not.toBe(0);
  });

  test("lists what there is, as text and as JSON", async () => {
    const { tenant_id, id } = await newReingest(database.pool, { total: 3 });
    await untilReingest(database.pool, { tenant_id, id }, ({ status }) => status === "running");

    expect((await lore("list", "--tenant", tenant_id)).out).toMatch(new RegExp(`\\n${id} +running +0 +3 `));
    expect(JSON.parse((await lore("list", "--tenant", tenant_id, "--json")).out)).toMatchObject([{ id }]);
  });
});

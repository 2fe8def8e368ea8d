/** What models cost and may cost: cost, budget, and what status says of a budget that is spent. */
import { randomUUID } from "node:crypto";
import { beforeAll, expect, test } from "vitest";
import { assertBudget, setBudget } from "../../src/ledger/budgets.ts";
import { type CallFigures, noteCalls } from "../../src/ledger/calls.ts";
import { enqueueRuns } from "../../src/ledger/enqueue.ts";
import { findRun } from "../../src/ledger/look.ts";
import type { ClaimedRun, RunRequest } from "../../src/ledger/run.ts";
import { run } from "../support/cli.ts";
import { storeScene } from "../support/content.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { claimed, request } from "../support/ledger.ts";

let database: TestDatabase;
let settings: Record<string, string>;
let mood: ClaimedRun;
const tenant = randomUUID();

const call: CallFigures = {
  node: "readMood",
  kind: "chat",
  model: "gpt-4o-mini",
  from: "provider",
  calls: 1,
  tokens_in: 1_000,
  tokens_cached: 200,
  tokens_out: 100,
  cost_usd: 0.25,
  saved_usd: 0,
  ms: 12,
  key: "k",
};

beforeAll(async () => {
  database = await testDatabase();
  settings = { DATABASE_URL: database.url };
  const about = await storeScene(database.pool, tenant, ["The keeper counted the lamps."]);
  mood = await claimed(database.pool, { ...about, pipeline: "dialog-mood" });
  const traits = await claimed(database.pool, { tenant_id: tenant, pipeline: "character-traits" });
  await noteCalls(database.pool, [
    { ...call, run: mood, ordinal: 1 },
    { ...call, run: mood, ordinal: 2, from: "cache", cost_usd: 0, saved_usd: 0.25 },
    { ...call, run: traits, ordinal: 1, cost_usd: 1 },
  ]);
});

async function enqueued(given: Pick<RunRequest, "tenant_id" | "pipeline">): Promise<string> {
  const [queued] = await enqueueRuns(database.pool, [request(given)]);
  if (!queued) throw new Error("expected a run, got: none");
  return queued.id;
}

const lore = (...args: string[]) => run(args, settings);
const json = async (...args: string[]) => JSON.parse((await lore(...args, "--json")).out);

test("cost tells the bill by pipeline and model, what was saved, and the sum", async () => {
  const { code, out } = await lore("cost", "--tenant", tenant, "--since", "7d");

  expect(code).toBe(0);
  expect(out).toMatch(/character-traits +gpt-4o-mini +1 +1000 +100 +\$1\.00\n/);
  expect(out).toMatch(/dialog-mood +gpt-4o-mini +1 +1000 +100 +\$0\.25 +\$0\.25 \(1 calls\)\n/);
  expect(out).toMatch(/in all +2 +2000 +200 +\$1\.25 +\$0\.25/);
  expect(await json("cost", "--tenant", tenant, "--by", "day")).toMatchObject({
    total: { calls: 2, cost_usd: 1.25, saved_calls: 1, saved_usd: 0.25 },
    items: [{ day: new Date().toISOString().slice(0, 10), pipeline: null, cost_usd: 1.25 }],
  });
  expect((await lore("cost", "--tenant", randomUUID())).out).toContain("no model was asked");
});

test.each([
  ["a day that is none", ["--since", "yesterday"], "expected --since to be such as 2026-11-28 or 7d"],
  ["a day before the calendar", ["--since", "0000-01-01"], "expected --since to be such as 2026-11-28 or 7d"],
  ["a part that is none", ["--by", "colour"], "expected --by to be of pipeline, model, day"],
])("cost refuses %s", async (_, args, said) => {
  expect(await lore("cost", ...args)).toMatchObject({ code: 2, err: expect.stringContaining(said) });
});

test("a budget is set, listed with what is spent of it, held against, and dropped", async () => {
  const set = await json(
    "budget",
    "set",
    "--tenant",
    tenant,
    "--pipeline",
    "dialog-mood",
    "--per",
    "day",
    "--usd",
    "0.25",
  );
  expect(set).toMatchObject({
    pipeline: "dialog-mood",
    usd: 0.25,
    spent_usd: 0.25,
    holds_until: set.period_ends_at,
  });
  await expect(assertBudget(database.pool, mood)).rejects.toMatchObject({ code: "BUDGET_SPENT" });

  expect((await lore("status", "--tenant", tenant)).out).toContain(
    `the budget of pipeline dialog-mood, $0.25 a day, is spent until ${set.holds_until}`,
  );
  expect((await lore("budget", "list", "--tenant", tenant)).out).toMatch(
    /\$0\.25 of \$0\.25 a day +work waits until/,
  );

  await lore("budget", "set", "--tenant", tenant, "--pipeline", "dialog-mood", "--per", "day", "--usd", "2");
  await assertBudget(database.pool, mood);
  expect((await json("status", "--tenant", tenant)).budgets_spent).toEqual([]);

  expect(await lore("budget", "drop", set.id, "--tenant", tenant)).toMatchObject({ code: 0 });
  expect(await json("budget", "list", "--tenant", tenant)).toEqual([]);
  expect(await lore("budget", "drop", set.id, "--tenant", tenant)).toMatchObject({
    code: 2,
    err: expect.stringContaining("NOT_FOUND"),
  });
}, 60_000);

test("runs show tells of the budget that a run waits for, which was never tried", async () => {
  const of = { tenant_id: randomUUID(), pipeline: "dialog-mood" };
  const queued = await enqueued({ ...of, pipeline: "dialog-mood@2" });
  const { id, holds_until } = await setBudget(database.pool, { ...of, per: "day" }, 0);
  const show = ["runs", "show", queued, "--tenant", of.tenant_id];

  expect((await lore(...show)).out).toContain(
    `waits     the budget of pipeline dialog-mood, $0 a day, is spent until ${holds_until?.toISOString()}`,
  );
  expect((await json(...show)).held_by).toMatchObject({ id, spent_until: holds_until?.toISOString() });

  await setBudget(database.pool, { ...of, per: "day" }, 1);
  expect(await findRun(database.pool, of.tenant_id, queued)).toMatchObject({ held_by: null });
}, 60_000);

test("a budget refuses an amount that is none", async () => {
  expect(await lore("budget", "set", "--tenant", tenant, "--per", "day", "--usd", "much")).toMatchObject({
    code: 2,
    err: expect.stringContaining("expected --usd to be an amount"),
  });
});

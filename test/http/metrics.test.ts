import { beforeAll, expect, test } from "vitest";
import { enqueueRuns } from "../../src/ledger/enqueue.ts";
import { addTallies, durationBounds } from "../../src/ledger/tallies.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { openTestApp, type TestApp } from "../support/http.ts";
import { request } from "../support/ledger.ts";
import { runtime, takeScene } from "../support/runtime.ts";

let database: TestDatabase;
let app: TestApp;
beforeAll(async () => {
  database = await testDatabase();
  app = await openTestApp(runtime(database));
});

const usage = {
  model_calls: 2,
  embedding_calls: 0,
  tokens_in: 100,
  tokens_out: 20,
  embedding_tokens: 0,
  cost_usd: 0.5,
};
const tally = (pipeline: string) => ({
  pipeline,
  ending: "answered",
  attempts: 3,
  seconds: 1.5,
  buckets: durationBounds.map((bound) => (bound >= 0.5 ? 3 : 0)),
  ...usage,
});

async function scrape(): Promise<readonly string[]> {
  const { statusCode, headers, body } = await app.ask({ url: "/metrics" });
  expect(statusCode).toBe(200);
  expect(headers["content-type"]).toMatch(/^text\/plain; version=0\.0\.4/);
  return body.split("\n");
}

test("tells what waits, what was done and what it cost", async () => {
  await takeScene(runtime(database));
  await enqueueRuns(database.pool, [
    request({ pipeline: "webhook:one" }),
    request({ pipeline: "webhook:two" }),
  ]);
  await addTallies(database.pool, [tally("dialog-mood"), tally("webhook")]);
  await addTallies(database.pool, [tally("webhook")]);

  expect(await scrape()).toEqual(
    expect.arrayContaining([
      'loregraph_runs_due{pipeline="base"} 1',
      'loregraph_runs_due{pipeline="webhook"} 2',
      "loregraph_workers 0",
      "loregraph_producer_lag 0",
      'loregraph_tokens_in_total{pipeline="dialog-mood"} 100',
      'loregraph_cost_usd_total{pipeline="webhook"} 1',
      'loregraph_attempt_duration_seconds_bucket{pipeline="dialog-mood",ending="answered",le="0.25"} 0',
      'loregraph_attempt_duration_seconds_bucket{pipeline="dialog-mood",ending="answered",le="0.5"} 3',
      'loregraph_attempt_duration_seconds_bucket{pipeline="webhook",ending="answered",le="+Inf"} 6',
      'loregraph_attempt_duration_seconds_sum{pipeline="dialog-mood",ending="answered"} 1.5',
      'loregraph_attempt_duration_seconds_count{pipeline="webhook",ending="answered"} 6',
    ]),
  );
});

test("tells the same however often it is asked", async () => {
  const ours = (lines: readonly string[]) =>
    lines.filter((line) => line.startsWith("loregraph_") && !line.startsWith("loregraph_api_"));
  const [first, second] = [ours(await scrape()), ours(await scrape())];
  const withoutAges = (lines: readonly string[]) =>
    lines.filter((line) => !/oldest_(due|waiting)/.test(line));

  expect(withoutAges(second)).toEqual(withoutAges(first));
});

test("is for administrators alone", async () => {
  const { statusCode } = await app.ask({ url: "/metrics" }, app.keys.read);

  expect(statusCode).toBe(403);
});

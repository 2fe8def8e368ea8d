import { beforeAll, beforeEach, expect, test } from "vitest";
import type { Db } from "../../src/db.ts";
import { durationBounds, readTallies } from "../../src/ledger/tallies.ts";
import { noUsage } from "../../src/pipeline.ts";
import { Meter } from "../../src/worker/meter.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { echo } from "../support/pipelines.ts";
import { runtime, startWorker, takeScene } from "../support/runtime.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});
beforeEach(async () => {
  await database.pool.query("truncate attempt_tallies");
});

const quick = { pipeline: "base", ending: "completed", seconds: 0.02, usage: { ...noUsage, model_calls: 1 } };
const slow = { ...quick, seconds: 700, usage: { ...noUsage, tokens_in: 7, cost_usd: 0.5 } };

test("adds up attempts by pipeline and ending, over processes", async () => {
  const [one, other] = [new Meter(), new Meter()];
  one.add(quick);
  one.add(slow);
  one.add({ ...quick, ending: "retry" });
  other.add(quick);
  await Promise.all([one.write(database.pool), other.write(database.pool)]);

  expect(await readTallies(database.pool)).toMatchObject([
    { pipeline: "base", ending: "completed", attempts: 3, seconds: 700.04, model_calls: 2, tokens_in: 7 },
    { pipeline: "base", ending: "retry", attempts: 1, cost_usd: 0 },
  ]);
});

test("counts an attempt in each bucket that it fits", async () => {
  const meter = new Meter();
  meter.add(quick);
  await meter.write(database.pool);
  meter.add(slow);
  await meter.write(database.pool);

  const [tally] = await readTallies(database.pool);
  expect(tally?.buckets).toEqual(durationBounds.map((bound) => Number(bound >= 0.02)));
});

test("writes nothing twice, and what could not be written the next time", async () => {
  const meter = new Meter();
  meter.add(quick);
  const away = { query: () => Promise.reject(new Error("away")) } as unknown as Db;
  await expect(meter.write(away)).rejects.toThrow("away");
  meter.add(quick);
  await meter.write(database.pool);
  await meter.write(database.pool);

  expect(await readTallies(database.pool)).toMatchObject([{ attempts: 2, model_calls: 2 }]);
});

test("a worker that stops has counted each of its attempts by how it ended", async () => {
  const context = runtime(
    database,
    echo(({ title }) => {
      if (title === "broken") throw new Error("no");
      return { said: "" };
    }),
  );
  const worker = startWorker(context, database);
  await takeScene(context);
  await takeScene(context, { title: "broken" });
  await worker.untilDone();
  await worker.stop();

  const counted = (await readTallies(database.pool)).map((t) => [t.pipeline, t.ending, t.attempts]);
  expect(counted).toEqual([
    ["base", "answered", 2],
    ["echo", "answered", 1],
    ["echo", "dead_letter", 1],
    ["echo", "retry", 2],
  ]);
});

import { beforeAll, beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { setBudget } from "../src/ledger/budgets.ts";
import { pausePipeline } from "../src/ledger/controls.ts";
import { countOpenRuns } from "../src/ledger/read.ts";
import { readReingest } from "../src/reingest/reingest.ts";
import { Runtime } from "../src/runtime.ts";
import { type TestDatabase, testDatabase } from "./support/database.ts";
import { newPipeline } from "./support/ledger.ts";
import { echo } from "./support/pipelines.ts";
import { enqueueFor, newReingest } from "./support/reingests.ts";
import { emptyLedger, runtime } from "./support/runtime.ts";
import { sending } from "./support/webhooks.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});
beforeEach(() => emptyLedger(database));

describe("a runtime that works until all is done", () => {
  test("completes the reingests that there are", async () => {
    const reingest = await newReingest(database.pool);
    await enqueueFor(database.pool, reingest, 3);

    await untilDone();

    expect(await readReingest(database.pool, reingest)).toMatchObject({ status: "completed" });
  });

  test("does not wait for a person whom a reingest's run asks", async () => {
    const reingest = await newReingest(database.pool);
    await enqueueWaiting(reingest);

    await untilDone();

    expect(await readReingest(database.pool, reingest)).toMatchObject({ status: "running" });
  });

  test("does not wait for a pipeline that is paused, nor for one that nobody here runs", async () => {
    const reingest = await newReingest(database.pool);
    await pausePipeline(database.pool, "echo");
    await enqueueFor(database.pool, reingest, 1);
    await enqueueFor(database.pool, reingest, 1, { pipeline: newPipeline() });

    await untilDone();

    expect(await readReingest(database.pool, reingest)).toMatchObject({ status: "running" });
  });

  test("does not wait for a budget that is spent, and works again once it is not", async () => {
    const reingest = await newReingest(database.pool);
    const { tenant_id } = reingest;
    await enqueueFor(database.pool, reingest, 2);
    await setBudget(database.pool, { tenant_id, per: "month" }, 0);

    await untilDone();

    expect(await readReingest(database.pool, reingest)).toMatchObject({ status: "running" });
    expect(await countOpenRuns(database.pool, { tenant_id })).toEqual({ pending: 0, running: 0, held: 2 });

    await setBudget(database.pool, { tenant_id, per: "month" }, 1);
    await untilDone();

    expect(await readReingest(database.pool, reingest)).toMatchObject({ status: "completed" });
  });
});

async function untilDone(): Promise<void> {
  const { url } = database;
  const context = runtime(
    database,
    echo(() => ({ said: "" })),
  );
  const running = new Runtime(context, { url, leaseMs: 2_000, drainMs: 0, webhooks: sending });
  onTestFinished(() => running.stop());
  await running.start();
  await running.untilDone();
}

async function enqueueWaiting({ tenant_id, id }: { tenant_id: string; id: string }): Promise<void> {
  await database.pool.query(
    `insert into pipeline_runs (tenant_id, source_type, source_id, source_version, pipeline, max_attempts, reingest_id,
       status, question, waiting_since)
     values ($1, 'scene', gen_random_uuid(), 1, 'echo', 3, $2, 'waiting', '"Who?"', now())`,
    [tenant_id, id],
  );
}

import { afterEach, beforeAll, expect, test } from "vitest";
import { openPool } from "../../src/db.ts";
import { listRuns } from "../../src/ledger/read.ts";
import type { Pipeline } from "../../src/pipeline.ts";
import { enrichmentsOf } from "../../src/store/enrichments.ts";
import { eventsOf } from "../../src/store/events.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { echo, threeSteps, visits } from "../support/pipelines.ts";
import { proxyTo } from "../support/proxy.ts";
import { emptyLedger, gate, runAbout, runtime, startWorker, takeScene } from "../support/runtime.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});
afterEach(() => emptyLedger(database));

/** Ends every connection that a worker has, from a connection that no worker uses. */
async function terminateAll(): Promise<number> {
  const { rowCount } = await database.pool.query(
    `select pg_terminate_backend(pid) from pg_stat_activity
     where datname = current_database() and application_name in ('loregraph worker', 'loregraph listener', 'loregraph heartbeat')`,
  );
  return rowCount ?? 0;
}

/** While none is there to be terminated, the worker makes them again. */
async function connecting(): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 5));
}

/** A worker with connections of its own, so that the test keeps its. */
async function isolated(url: string, ...pipelines: readonly Pipeline[]) {
  const pool = openPool(url, { name: "loregraph worker" });
  const context = runtime({ pool, url }, ...pipelines);
  const worker = startWorker(context, { pool, url }, { leaseMs: 600, drainMs: 2_000 });
  return {
    context,
    worker,
    async [Symbol.asyncDispose]() {
      await worker.stop();
      await pool.end();
    },
  };
}

async function expectOnce(
  scenes: readonly Awaited<ReturnType<typeof takeScene>>[],
  pipelines: readonly string[],
) {
  for (const scene of scenes) {
    const runs = await listRuns(database.pool, { source_id: scene.source_id });
    expect(runs.map(({ status }) => status)).toEqual(runs.map(() => "success"));
    expect(runs.map(({ pipeline }) => pipeline).toSorted()).toEqual(["base", ...pipelines].toSorted());
    const events = (await eventsOf(database.pool, scene)).map(
      ({ event, metadata }) => metadata.pipeline ?? event,
    );
    expect(events.toSorted()).toEqual(["entity.changed", "entity.ingested", ...pipelines].toSorted());
    const enrichments = await enrichmentsOf(database.pool, scene);
    expect(enrichments.map(({ pipeline }) => pipeline)).toEqual(pipelines.toSorted());
  }
}

test("every run ends once, however often all connections are terminated while they run", async () => {
  let lost = 0;
  await using isolate = await isolated(
    database.url,
    threeSteps(
      async (step) => {
        if (step !== "two" || lost === 8) return;
        lost++;
        while ((await terminateAll()) === 0) await connecting();
      },
      { name: "steps" },
    ),
    visits((item) => item.toUpperCase(), { name: "visits" }),
  );
  const context = { ...isolate.context, pool: database.pool };
  const scenes = await Promise.all(Array.from({ length: 8 }, () => takeScene(context, { text: "a b c d" })));
  await isolate.worker.untilDone();

  expect(lost).toBe(8);
  await expectOnce(scenes, ["steps", "visits"]);
  for (const scene of scenes) {
    expect(await enrichmentsOf(database.pool, scene)).toMatchObject([
      { output: { said: "one two three" } },
      { output: { said: "A B C D" } },
    ]);
  }
});

test("a connection that breaks while a graph thinks costs the run nothing", async () => {
  const here = gate();
  await using isolate = await isolated(
    database.url,
    echo(async () => {
      await here.pass();
      return { said: "x" };
    }),
  );
  const context = { ...isolate.context, pool: database.pool };
  const scene = await takeScene(context);
  await here.reached;
  await terminateAll();
  here.open();
  await isolate.worker.untilDone();

  expect(await runAbout(context, scene)).toMatchObject({ status: "success", attempt: 1, errors: [] });
});

test("a database that is away for a while is waited for, and the answer is kept", async () => {
  const proxy = await proxyTo(database.url);
  const here = gate();
  let calls = 0;
  {
    await using isolate = await isolated(
      proxy.url,
      echo(
        async () => {
          calls++;
          await here.pass();
          return { said: `call ${calls}` };
        },
        { trigger: { on: "entity.changed" } },
      ),
    );
    const context = { ...isolate.context, pool: database.pool };
    const scene = await takeScene(context);
    await here.reached;
    proxy.cut();
    here.open();
    for (let n = 0; n < 3; n++) await proxy.nextAttempt();
    const later = await takeScene(context);
    proxy.mend();
    await isolate.worker.untilDone();

    expect(await runAbout(context, later)).toMatchObject({ status: "success" });
    expect(await runAbout(context, scene)).toMatchObject({ status: "success" });
    expect(calls).toBeLessThanOrEqual(3);
  }
  await proxy.close();
});

test("a disk that is full for a while costs no attempt", async () => {
  await database.pool.query(`
    create sequence starts;
    create function refuse_the_first() returns trigger language plpgsql as $$
    begin
      if nextval('starts') <= 3 then raise exception 'could not extend file' using errcode = 'disk_full'; end if;
      return new;
    end $$;
    create trigger disk_full before update on pipeline_runs for each row
      when (new.graph_started_at is distinct from old.graph_started_at and new.graph_started_at is not null)
      execute function refuse_the_first()`);
  await using isolate = await isolated(
    database.url,
    echo(() => ({ said: "x" }), {
      trigger: { on: "entity.changed" },
      retries: { attempts: 2, base: 1, most: 5 },
    }),
  );
  const context = { ...isolate.context, pool: database.pool };
  const scene = await takeScene(context);
  await isolate.worker.untilDone();
  await database.pool.query("drop trigger disk_full on pipeline_runs");

  expect(await runAbout(context, scene)).toMatchObject({ status: "success", attempt: 1 });
});

test("a worker that starts while the database is away begins when it is back", async () => {
  const proxy = await proxyTo(database.url);
  proxy.cut();
  {
    await using isolate = await isolated(
      proxy.url,
      echo(() => ({ said: "x" })),
    );
    const context = { ...isolate.context, pool: database.pool };
    const scene = await takeScene(context);
    for (let n = 0; n < 3; n++) await proxy.nextAttempt();
    proxy.mend();
    await isolate.worker.untilDone();

    expect((await runAbout(context, scene)).status).toBe("success");
  }
  await proxy.close();
});

test("a worker stops within its bound, though the database is away", async () => {
  const proxy = await proxyTo(database.url);
  const here = gate();
  const isolate = await isolated(proxy.url, echo(here.pass));
  await takeScene({ ...isolate.context, pool: database.pool });
  await here.reached;
  proxy.cut();
  const started = performance.now();
  await isolate.worker.stop();

  expect(performance.now() - started).toBeLessThan(2_000 + 5_500);
  proxy.mend();
  await isolate.context.pool.end();
  await proxy.close();
});

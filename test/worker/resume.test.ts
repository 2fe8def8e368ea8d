import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { transaction } from "../../src/db.ts";
import { claimRuns } from "../../src/ledger/claim.ts";
import { reapExpired } from "../../src/ledger/reap.ts";
import type { Pipeline } from "../../src/pipeline.ts";
import { previousOutput } from "../../src/store/enrichments.ts";
import { eventsOf } from "../../src/store/events.ts";
import { runAttempt } from "../../src/worker/attempt.ts";
import { shared } from "../../src/worker/together.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { only, stamp, startAttempt } from "../support/ledger.ts";
import { asking, echo, type Given, type Step, threeSteps, visits } from "../support/pipelines.ts";
import { emptyLedger, forever, gate, runAbout, runtime, startWorker, takeScene } from "../support/runtime.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});
afterEach(() => emptyLedger(database));

/** Three steps that note themselves, the last of which fails its first time. */
function failsOnceAtThree(steps: Step[], definition: Given = {}): Pipeline {
  return threeSteps((step) => {
    steps.push(step);
    if (step === "three" && steps.length === 3) throw new Error("not yet");
  }, definition);
}

test("an attempt goes on after the last finished step", async () => {
  const steps: Step[] = [];
  const context = runtime(database, failsOnceAtThree(steps));
  await using worker = startWorker(context, database);
  const scene = await takeScene(context);
  await worker.untilDone();

  expect(steps).toEqual(["one", "two", "three", "three"]);
  expect(await previousOutput(database.pool, scene, "echo")).toEqual({ said: "one two three" });
  expect(await runAbout(context, scene)).toMatchObject({ status: "success", attempt: 2 });
});

test("a step whose answer was saved, but no checkpoint after it, is not repeated", async () => {
  const steps: Step[] = [];
  const context = runtime(database, failsOnceAtThree(steps, { checkpoints: { history: true } }));
  await using first = startWorker(context, database, { pipelines: ["base"] });
  const scene = await takeScene(context);
  await first.untilDone();
  const run = only(
    await claimRuns(database.pool, { worker: "w", pipelines: ["echo"], limit: 1, leaseMs: 60_000 }),
  );
  await runAttempt(shared(context), run, new AbortController());
  const lost = await database.pool.query(
    "delete from checkpoints where thread_id = $1 and metadata ->> 'step' = '2'",
    [run.id],
  );
  await using second = startWorker(context, database);
  await second.untilDone();

  expect(lost.rowCount).toBe(1);
  expect(steps).toEqual(["one", "two", "three", "three"]);
  expect(await previousOutput(database.pool, scene, "echo")).toEqual({ said: "one two three" });
});

test("of steps that run side by side, only those that had not finished run again", async () => {
  const heard: string[] = [];
  const others = Promise.withResolvers<void>();
  const context = runtime(
    database,
    visits(async (item) => {
      heard.push(item);
      if (heard.length === 4) others.resolve();
      if (item === "bad" && heard.filter((other) => other === "bad").length === 1) {
        await others.promise;
        await new Promise(setImmediate);
        throw new Error("not yet");
      }
      return item.toUpperCase();
    }),
  );
  await using worker = startWorker(context, database);
  const scene = await takeScene(context, { text: "a b bad c" });
  await worker.untilDone();

  expect(heard.toSorted()).toEqual(["a", "b", "bad", "bad", "c"]);
  expect(await previousOutput(database.pool, scene, "echo")).toEqual({ said: "A B BAD C" });
});

describe("a graph that had finished before its worker failed", () => {
  test("is only committed", async () => {
    await failNextCommit();
    let calls = 0;
    const context = runtime(
      database,
      echo(() => ({ said: `call ${++calls}`, events: [{ event: "mood.found", metadata: {} }] }), {
        emits: ["mood.found"],
      }),
    );
    const worker = startWorker(context, database, { leaseMs: 400 });
    const scene = await takeScene(context);
    await worker.untilDone();
    await worker.stop();

    expect(calls).toBe(1);
    expect(await runAbout(context, scene)).toMatchObject({ status: "success", attempt: 1 });
    expect(await previousOutput(database.pool, scene, "echo")).toEqual({ said: "call 1" });
    const events = (await eventsOf(database.pool, scene)).map(({ event }) => event);
    expect(events.toSorted()).toEqual(["entity.changed", "entity.enriched", "entity.ingested", "mood.found"]);
  });

  test("is only committed by whoever takes it over", async () => {
    const steps: Step[] = [];
    const locked = gate();
    const does = async (step: Step) => {
      steps.push(step);
      if (step === "three") await locked.pass();
    };
    const pipeline = threeSteps(does, { checkpoints: { history: true } });
    const context = runtime(database, pipeline);
    const scene = await takeScene(context);
    await using first = startWorker(context, database, { leaseMs: 60_000, pipelines: ["base"] });
    await first.untilDone();
    await using second = startWorker(context, database, { leaseMs: 60_000 });
    // The commit waits for its entity until its lease is gone, as that of a worker that was cut off does.
    await withEntityLocked(scene, async () => {
      locked.open();
      await untilCommitWaits();
      await database.pool.query("update pipeline_runs set lease_expires_at = now() where status = 'running'");
      await reapExpired(database.pool);
    });
    await second.untilDone();

    expect(second.endings.map(({ ending }) => ending.kind).toSorted()).toEqual(["answered", "lost"]);
    expect(steps).toEqual(["one", "two", "three"]);
    expect((await runAbout(context, scene)).status).toBe("success");
  });
});

/** The next commit that stores an enrichment breaks its connection, once. */
async function failNextCommit(): Promise<void> {
  await database.pool.query(`
    create sequence commits;
    create function break_once() returns trigger language plpgsql as $$
    begin
      if nextval('loregraph.commits') = 1 then perform pg_terminate_backend(pg_backend_pid()); end if;
      return new;
    end $$;
    create trigger break_once before insert on enrichments for each row execute function break_once()`);
}

async function withEntityLocked(
  { source_id }: { source_id: string },
  work: () => Promise<void>,
): Promise<void> {
  await transaction(database.pool, async (db) => {
    await db.query("select from entities where source_id = $1 for update", [source_id]);
    await work();
  });
}

async function untilCommitWaits(): Promise<void> {
  const waiting =
    "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and query like '%for key share'";
  while ((await database.pool.query(waiting)).rowCount === 0);
}

describe("starts over", () => {
  /** Fails at step three as `before`, then lets `after` finish the same run. */
  async function stepsOf(before: Given, after: Given, change?: { text: string }): Promise<readonly Step[]> {
    const steps: Step[] = [];
    const failed = gate();
    const hanging = threeSteps(async (step) => {
      if (step === "three") await failed.pass();
    }, before);
    const first = runtime(database, hanging);
    const crashing = startWorker(first, database);
    const scene = await takeScene(first);
    await failed.reached;
    await crashing.stop();
    if (change) await takeScene(first, { ...scene, ...change });
    const context = runtime(
      database,
      threeSteps((step) => {
        steps.push(step);
      }, after),
    );
    await using worker = startWorker(context, database);
    await worker.untilDone();
    failed.open();

    expect(await previousOutput(database.pool, scene, "echo")).toEqual({ said: "one two three" });
    return steps;
  }

  test("not, where nothing has changed", async () => {
    expect(await stepsOf({}, {})).toEqual(["three"]);
  });

  test.each<[string, Given, Given]>([
    ["another version of the pipeline", { version: 1 }, { version: 2 }],
    ["another model", { local: "small rules" }, { local: "large rules" }],
    ["another prompt", { prompts: ["Say one."] }, { prompts: ["Say two."] }],
    ["another thing that it reads", { reads: () => "one" }, { reads: () => "other" }],
  ])("under %s", async (_, before, after) => {
    expect(await stepsOf(before, after)).toEqual(["one", "two", "three"]);
  });

  test("where the text has changed meanwhile", async () => {
    expect(await stepsOf({}, {}, { text: "Another text." })).toEqual(["one", "two", "three"]);
  });
});

test("a run that waits for a person asks the same again when it is taken up without an answer", async () => {
  const context = runtime(database, asking("Who?"));
  await using worker = startWorker(context, database);
  const scene = await takeScene(context);
  await worker.untilDone();
  await database.pool.query(
    "update pipeline_runs set status = 'pending', question = null, waiting_since = null where status = 'waiting'",
  );
  await worker.untilDone();

  expect(await runAbout(context, scene)).toMatchObject({ status: "waiting", attempt: 2 });
});

test("a worker that died before its first checkpoint leaves nothing to go on from", async () => {
  const steps: Step[] = [];
  const context = runtime(
    database,
    threeSteps(
      (step) => {
        steps.push(step);
      },
      { trigger: { on: "entity.changed" } },
    ),
  );
  const scene = await takeScene(context);
  const options = { worker: "dead", pipelines: ["echo"], limit: 1, leaseMs: -1 };
  await startAttempt(database.pool, only(await claimRuns(database.pool, options)), stamp);
  await using worker = startWorker(context, database);
  await worker.untilDone();

  expect(steps).toEqual(["one", "two", "three"]);
  expect(await runAbout(context, scene)).toMatchObject({ status: "success", attempt: 2 });
});

test("a hanging step is taken up by the next attempt", async () => {
  const steps: Step[] = [];
  const context = runtime(
    database,
    threeSteps(
      (step) => {
        steps.push(step);
        return step === "two" && steps.length === 2 ? forever() : undefined;
      },
      { timeout: 150 },
    ),
  );
  await using worker = startWorker(context, database);
  await takeScene(context);
  await worker.untilDone();

  expect(steps).toEqual(["one", "two", "two", "three"]);
});

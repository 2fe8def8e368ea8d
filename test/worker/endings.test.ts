import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { LoregraphError } from "../../src/errors.ts";
import { removeEntities } from "../../src/intake.ts";
import { listRuns } from "../../src/ledger/read.ts";
import type { Pipeline } from "../../src/pipeline.ts";
import { previousOutput } from "../../src/store/enrichments.ts";
import { eventsOf } from "../../src/store/events.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { runOf } from "../support/ledger.ts";
import { asking, echo, threeSteps } from "../support/pipelines.ts";
import { emptyLedger, forever, gate, runAbout, runtime, startWorker, takeScene } from "../support/runtime.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});
afterEach(() => emptyLedger(database));

/** Lets a worker do all that follows from one new scene, and gives the enricher's run and endings. */
async function runScene(pipeline: Pipeline) {
  const context = runtime(database, pipeline);
  await using worker = startWorker(context, database);
  const scene = await takeScene(context);
  await worker.untilDone();
  const endings = worker.endings
    .filter(({ run }) => run.pipeline === "echo")
    .map(({ ending }) => ending.kind);
  const run = await runAbout(context, scene);
  return { scene, run, endings, stored: await previousOutput(database.pool, scene, "echo") };
}

describe("an answer", () => {
  test("is stored with its stamp", async () => {
    const { run, endings, stored } = await runScene(echo(() => ({ said: "hello" })));

    expect(endings).toEqual(["answered"]);
    expect(run).toMatchObject({
      status: "success",
      outcome: "completed",
      attempt: 1,
      pipeline_version: 1,
      model: "echo",
    });
    expect(stored).toEqual({ said: "hello" });
  });

  test("that counts as skipped is stored as such", async () => {
    const { run, stored } = await runScene(echo(() => ({ said: "" }), { outcome: () => "skipped" }));

    expect(run).toMatchObject({ status: "success", outcome: "skipped" });
    expect(stored).toEqual({ said: "" });
  });

  test("that its evaluation rejected is told but not stored", async () => {
    const { run, scene, stored } = await runScene(
      echo(() => ({ said: "" }), { outcome: () => "eval_rejected" }),
    );

    expect(run).toMatchObject({ status: "success", outcome: "eval_rejected" });
    expect(stored).toBeUndefined();
    expect((await eventsOf(database.pool, scene)).at(-1)).toMatchObject({
      event: "entity.enriched",
      metadata: { pipeline: "echo", outcome: "eval_rejected" },
    });
  });

  test("appends the events that it names, under its run, and starts what they trigger", async () => {
    const context = runtime(
      database,
      echo(() => ({ said: "x", events: [{ event: "mood.found", metadata: { mood: "glad" } }] }), {
        emits: ["mood.found"],
      }),
      echo(() => ({ said: "second" }), { name: "second", trigger: { on: "mood.found" } }),
    );
    await using worker = startWorker(context, database);
    const scene = await takeScene(context);
    await worker.untilDone();

    const first = await runAbout(context, scene);
    const event = (await eventsOf(database.pool, scene)).find(({ event }) => event === "mood.found");
    expect(event).toMatchObject({ metadata: { mood: "glad" }, run_id: first.id, version: 1 });
    expect(await runAbout(context, scene, "second")).toMatchObject({ status: "success" });
    const { rows } = await database.pool.query(
      "select parent_run_id, cause_event from pipeline_runs where pipeline = 'second'",
    );
    expect(rows).toEqual([{ parent_run_id: first.id, cause_event: String(event?.id) }]);
    expect(await previousOutput(database.pool, scene, "echo")).toEqual({ said: "x" });
  });

  test("with what Postgres cannot store is stored without it", async () => {
    const { run, stored } = await runScene(echo(() => ({ said: "a\0b\ud800" })));

    expect(run.status).toBe("success");
    expect(stored).toEqual({ said: "ab\ufffd" });
  });
});

describe("a graph that fails", () => {
  test("is tried again, and succeeds when it can", async () => {
    let calls = 0;
    const { run, endings } = await runScene(
      echo(() => {
        if (++calls < 3) throw new Error(`not yet: ${calls}`);
        return { said: "at last" };
      }),
    );

    expect(endings).toEqual(["retry", "retry", "answered"]);
    expect(run).toMatchObject({
      status: "success",
      attempt: 3,
      errors: [
        { attempt: 1, code: "GRAPH_FAILED", message: "not yet: 1" },
        { attempt: 2, code: "GRAPH_FAILED", message: "not yet: 2" },
      ],
    });
  });

  test("is a dead letter when its attempts are spent", async () => {
    const { run, endings, stored } = await runScene(
      echo(() => {
        throw new Error("never");
      }),
    );

    expect(endings).toEqual(["retry", "retry", "retry"]);
    expect(run).toMatchObject({
      status: "failed",
      attempt: 3,
      error_code: "GRAPH_FAILED",
      error_message: "never",
    });
    expect(stored).toBeUndefined();
  });

  test.each([["a string"], [undefined], [{ odd: 1 }]])("may throw anything: %j", async (thrown) => {
    const { run } = await runScene(
      echo(() => {
        throw thrown;
      }),
    );

    expect(run).toMatchObject({ status: "failed", error_code: "GRAPH_FAILED" });
  });

  test("may say what Postgres cannot store", async () => {
    const { run } = await runScene(
      echo(() => {
        throw new Error("NUL \0 and \ud800");
      }),
    );

    expect(run).toMatchObject({
      status: "failed",
      error_code: "GRAPH_FAILED",
      error_message: "NUL  and \ufffd",
    });
  });

  test("without hope is a dead letter at once", async () => {
    const { run, endings } = await runScene(
      echo(() => {
        throw new LoregraphError("MODEL_REFUSED", "no such model");
      }),
    );

    expect(endings).toEqual(["hopeless"]);
    expect(run).toMatchObject({ status: "failed", attempt: 1, error_code: "MODEL_REFUSED" });
  });

  test("before it starts, because what it reads throws, spends its attempts too", async () => {
    const { run } = await runScene(
      echo(() => ({ said: "never" }), {
        reads: () => {
          throw new Error("cannot read");
        },
      }),
    );

    expect(run).toMatchObject({ status: "failed", attempt: 3, error_message: "cannot read" });
  });

  test("under a rate limit loses no attempt, and comes back when it was told to", async () => {
    let calls = 0;
    const { run, endings } = await runScene(
      echo(() => {
        if (++calls <= 5)
          throw new LoregraphError("RATE_LIMITED", "slow down", { after: new Date(Date.now() + 5) });
        return { said: "at last" };
      }),
    );

    expect(endings).toEqual([...Array(5).fill("retry"), "answered"]);
    expect(run).toMatchObject({ status: "success", attempt: 1 });
    expect(run.errors.map(({ code }) => code)).toEqual(Array(5).fill("RATE_LIMITED"));
  });

  test("under a rate limit waits as long as it was told to", async () => {
    const context = runtime(
      database,
      echo(() => {
        throw new LoregraphError("RATE_LIMITED", "slow down", { after: new Date(Date.now() + 3_600_000) });
      }),
    );
    await using worker = startWorker(context, database);
    const scene = await takeScene(context);
    await worker.untilIdle();

    const run = await runAbout(context, scene);
    expect(run).toMatchObject({ status: "pending", attempt: 0, error_code: "RATE_LIMITED" });
    expect(run.run_after.getTime() - Date.now()).toBeGreaterThan(3_500_000);
  });

  test("without a model and without a rule-based branch is a dead letter that says so", async () => {
    const { run } = await runScene(echo(() => ({ said: "never" }), { local: undefined } as object));

    expect(run).toMatchObject({ status: "failed", error_code: "MODEL_REQUIRED" });
  });
});

describe("an answer that breaks its promise", () => {
  test("is never stored; each attempt runs the graph anew, and the last is a dead letter", async () => {
    let calls = 0;
    const { run, stored } = await runScene(echo(() => ({ said: ++calls })));

    expect(run).toMatchObject({ status: "failed", attempt: 3, error_code: "ANSWER_INVALID" });
    expect(run.error_message).toContain("said");
    expect(calls).toBe(3);
    expect(stored).toBeUndefined();
  });

  test("is forgotten when the next attempt keeps it", async () => {
    let calls = 0;
    const { run, stored } = await runScene(echo(() => (++calls === 1 ? {} : { said: "right" })));

    expect(run).toMatchObject({ status: "success", attempt: 2 });
    expect(stored).toEqual({ said: "right" });
  });

  test("names the event that the pipeline did not announce, and fails at once", async () => {
    const { run, scene } = await runScene(
      echo(() => ({ said: "x", events: [{ event: "surprise.party", metadata: {} }] }), {
        emits: ["mood.found"],
      }),
    );

    expect(run).toMatchObject({ status: "failed", attempt: 1, error_code: "EVENT_UNKNOWN" });
    expect(run.error_message).toContain("surprise.party");
    expect(run.error_message).toContain("mood.found");
    expect((await eventsOf(database.pool, scene)).map(({ event }) => event)).toEqual([
      "entity.changed",
      "entity.ingested",
    ]);
  });

  test("or that the database refuses is a failure like any other, and is asked for anew", async () => {
    await database.pool.query(
      "alter table enrichments add constraint no_swearing check (output ->> 'said' <> 'damn')",
    );
    let calls = 0;
    const { run, stored } = await runScene(echo(() => ({ said: ++calls === 1 ? "damn" : "dear me" })));
    await database.pool.query("alter table enrichments drop constraint no_swearing");

    expect(run).toMatchObject({ status: "success", attempt: 2, errors: [{ code: "COMMIT_FAILED" }] });
    expect(stored).toEqual({ said: "dear me" });
  });
});

describe("a graph that hangs", () => {
  test("ends at its timeout, though it heeds no signal", async () => {
    let calls = 0;
    const { run, endings } = await runScene(
      echo(() => (++calls === 1 ? forever() : { said: "quick" }), { timeout: 150 }),
    );

    expect(endings).toEqual(["retry", "answered"]);
    expect(run).toMatchObject({ status: "success", attempt: 2, errors: [{ code: "ATTEMPT_TIMEOUT" }] });
  });

  test("and comes back after its timeout changes nothing", async () => {
    const late = gate();
    const steps: string[] = [];
    const context = runtime(
      database,
      threeSteps(
        async (step) => {
          steps.push(step);
          if (step === "two" && steps.length === 2) await late.pass();
        },
        { timeout: 200 },
      ),
    );
    await using worker = startWorker(context, database);
    const scene = await takeScene(context);
    await worker.untilDone();
    late.open();
    await new Promise(setImmediate);

    expect(await runAbout(context, scene)).toMatchObject({ status: "success", attempt: 2 });
    expect(steps.filter((step) => step === "one")).toEqual(["one"]);
    expect(await previousOutput(database.pool, scene, "echo")).toEqual({ said: "one two three" });
  });
});

describe("a graph that asks a person", () => {
  test.each([["Who is she?"], [{ who: "Mara", or: ["Anna"] }], [null], ["NUL \0"]])(
    "waits with its question: %j",
    async (question) => {
      const { run, endings, stored } = await runScene(asking(question));

      expect(endings).toEqual(["waiting"]);
      expect(run.status).toBe("waiting");
      expect(await runOf(database.pool, run)).toMatchObject({
        question: question === "NUL \0" ? "NUL " : question,
        lease_token: null,
        worker: null,
      });
      expect(stored).toBeUndefined();
    },
  );
});

describe("an entity that is deleted", () => {
  test("before its run starts cancels the run", async () => {
    const context = runtime(
      database,
      echo(() => ({ said: "x" })),
    );
    const scene = await takeScene(context);
    await removeEntities(database.pool, context.registry, scene.tenant_id, [scene]);
    await using worker = startWorker(context, database);
    await worker.untilDone();

    expect((await listRuns(database.pool, scene)).map(({ pipeline, status }) => [pipeline, status])).toEqual([
      ["base", "cancelled"],
    ]);
  });

  test("while its run runs cancels the run, and nothing about it is left", async () => {
    const here = gate();
    const context = runtime(
      database,
      echo(async () => {
        await here.pass();
        return { said: "too late" };
      }),
    );
    await using worker = startWorker(context, database);
    const scene = await takeScene(context);
    await here.reached;
    await removeEntities(database.pool, context.registry, scene.tenant_id, [scene]);
    here.open();
    await worker.untilDone();

    expect((await runAbout(context, scene)).status).toBe("cancelled");
    expect(await previousOutput(database.pool, scene, "echo")).toBeUndefined();
    expect((await eventsOf(database.pool, scene)).at(-1)?.event).toBe("entity.deleted");
  });

  test("while its unchanged run is about to end cancels it too: no event follows a deletion", async () => {
    const here = gate();
    let reads = 0;
    const context = runtime(
      database,
      echo(() => ({ said: "same" }), {
        async reads() {
          if (++reads === 2) await here.pass();
        },
      }),
    );
    await using worker = startWorker(context, database);
    const scene = await takeScene(context);
    await worker.untilDone();
    await takeScene(context, { ...scene, metadata: { content_kind: "draft" } });
    await here.reached;
    await removeEntities(database.pool, context.registry, scene.tenant_id, [scene]);
    here.open();
    await worker.untilDone();

    expect((await runAbout(context, scene)).status).toBe("cancelled");
    expect((await eventsOf(database.pool, scene)).at(-1)?.event).toBe("entity.deleted");
  });

  test("and comes back starts a new life at a higher version", async () => {
    const context = runtime(
      database,
      echo(() => ({ said: "x" })),
    );
    await using worker = startWorker(context, database);
    const scene = await takeScene(context);
    await worker.untilDone();
    await removeEntities(database.pool, context.registry, scene.tenant_id, [scene]);
    await takeScene(context, scene);
    await worker.untilDone();

    expect((await runAbout(context, scene)).source_version).toBe(3);
    expect(await previousOutput(database.pool, scene, "echo")).toEqual({ said: "x" });
  });
});

test("takes a graph's own missing file or server for the graph's failure, not for the database's", async () => {
  const context = runtime(
    database,
    echo(() => {
      throw Object.assign(new Error("connect ECONNREFUSED"), { code: "ECONNREFUSED" });
    }),
  );
  await using worker = startWorker(context, database);
  const scene = await takeScene(context);
  await worker.untilDone();

  const [run] = await listRuns(database.pool, { tenant_id: scene.tenant_id, pipeline: "echo" });
  expect(run).toMatchObject({ status: "failed", attempt: 3, error_code: "GRAPH_FAILED" });
});

import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { removeEntities } from "../../src/intake.ts";
import { answerRun, type Given as Told } from "../../src/ledger/answer.ts";
import { cancelRun } from "../../src/ledger/cancel.ts";
import { expireQuestions } from "../../src/ledger/expire.ts";
import { findRun } from "../../src/ledger/look.ts";
import { listRuns } from "../../src/ledger/read.ts";
import type { Run } from "../../src/ledger/run.ts";
import type { Pipeline } from "../../src/pipeline.ts";
import { previousOutput } from "../../src/store/enrichments.ts";
import type { EntityKey } from "../../src/store/entities.ts";
import { eventsOf } from "../../src/store/events.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { only } from "../support/ledger.ts";
import { asking, askingAll, askingTwice, type Given, type Telling } from "../support/pipelines.ts";
import { emptyLedger, gate, runAbout, runtime, startWorker, takeScene } from "../support/runtime.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});
afterEach(() => emptyLedger(database));

/** Lets a worker of its own do all that is due. */
async function work(...pipelines: readonly Pipeline[]): Promise<void> {
  await using worker = startWorker(runtime(database, ...pipelines), database);
  await worker.untilDone();
}

/** Takes in a scene, and works until its run asks. */
async function untilAsked(pipeline: Pipeline) {
  const scene = await takeScene(runtime(database, pipeline));
  await work(pipeline);
  return { scene, run: await runAbout(runtime(database), scene) };
}

const wholeOf = async ({ tenant_id, id }: Pick<Run, "tenant_id" | "id">) => {
  const run = await findRun(database.pool, tenant_id, id);
  if (!run) throw new Error(`no run ${id}`);
  return run;
};
const tell = (run: Run, answer: unknown) => answerRun(database.pool, run, { kind: "one", answer }, "Ines");
const tellEach = (run: Run, answers: Readonly<Record<string, unknown>>) =>
  answerRun(database.pool, run, { kind: "each", answers }, "Ines");
const said = (scene: EntityKey) => previousOutput(database.pool, scene, "echo");

describe("a run that was answered", () => {
  test.each<[string, Given]>([
    ["checkpoints that are held", {}],
    ["durability sync", { checkpoints: { durability: "sync" } }],
    ["durability exit", { checkpoints: { durability: "exit" } }],
    ["a history", { checkpoints: { history: true } }],
  ])("goes on where it stopped, on another worker, with %s", async (_, given) => {
    const steps: string[] = [];
    const pipeline = asking("Who?", { ...given, before: () => void steps.push("before") });
    const { scene, run } = await untilAsked(pipeline);
    expect(run).toMatchObject({ status: "waiting", question: "Who?", waiting_since: expect.any(Date) });

    expect(await tell(run, "Mara")).toEqual({ id: run.id, status: "pending", open: [] });
    await work(pipeline);

    expect(await wholeOf(run)).toMatchObject({
      ...{ status: "success", question: null, waiting_since: null, attempt: 1 },
      questions: [{ question: "Who?", answer: "Mara", answered_by: "Ines", answered_at: expect.any(Date) }],
    });
    expect(await said(scene)).toEqual({ said: "Mara" });
    expect(steps).toEqual(["before"]);
  });

  test.each([[null], [false], [0], [""], [{ who: ["Mara"] }]])("was told just that: %j", async (answer) => {
    const pipeline = asking("Who?", { tell: (told) => JSON.stringify(told) });
    const { scene, run } = await untilAsked(pipeline);
    await tell(run, answer);
    await work(pipeline);

    expect(await said(scene)).toEqual({ said: JSON.stringify(answer) });
  });

  test("may ask again, and each answer stands where its question was asked", async () => {
    const pipeline = askingTwice();
    const { scene, run } = await untilAsked(pipeline);
    await tell(run, "Mara");
    await work(pipeline);
    expect(await wholeOf(run)).toMatchObject({ status: "waiting", question: "And then, in The pier?" });
    await tell(run, "Anna");
    await work(pipeline);

    expect(await said(scene)).toEqual({ said: "Mara, Anna" });
    expect((await wholeOf(run)).questions.map(({ question, answer }) => [question, answer])).toEqual([
      ["Who is in The pier?", "Mara"],
      ["And then, in The pier?", "Anna"],
    ]);
  });

  test("has all its attempts again", async () => {
    let failures = 0;
    const pipeline = asking("Who?", {
      retries: { attempts: 2, base: 1, most: 2 },
      tell: () => {
        if (++failures === 1) throw new Error("not yet");
        return "told";
      },
    });
    const { scene, run } = await untilAsked(pipeline);
    await tell(run, "Mara");
    await work(pipeline);

    expect(await wholeOf(run)).toMatchObject({ status: "success", attempt: 2 });
    expect(await said(scene)).toEqual({ said: "told" });
  });

  test("waits in no slot and on no connection, and keeps its checkpoints", async () => {
    const pipeline = asking("Who?", { checkpoints: { keepHours: 0 } });
    await using worker = startWorker(runtime(database, pipeline), database, { concurrency: 1 });
    for (let n = 0; n < 5; n++) await takeScene(runtime(database, pipeline));
    await worker.untilDone();
    const { rows } = await database.pool.query(
      "select count(distinct thread_id)::integer as threads from checkpoints join pipeline_runs on id::text = thread_id where status = 'waiting'",
    );

    expect(rows).toEqual([{ threads: 5 }]);
    expect((await listRuns(database.pool, { status: "waiting" })).map(({ worker }) => worker)).toEqual(
      Array(5).fill(null),
    );
  });
});

describe("an attempt that dies after it was told", () => {
  test("leaves the answer to the next one, which is told the same", async () => {
    const told: unknown[] = [];
    const here = gate();
    const hanging = asking("Who?", {
      tell: async (answer) => {
        told.push(answer);
        if (told.length === 1) await here.pass();
        return String(answer);
      },
    });
    const { scene, run } = await untilAsked(hanging);
    await tell(run, "Mara");
    const dying = startWorker(runtime(database, hanging), database);
    await here.reached;
    await dying.stop();
    await work(hanging);
    here.open();

    expect(told).toEqual(["Mara", "Mara"]);
    expect(await said(scene)).toEqual({ said: "Mara" });
  });

  test("before its second question was kept never gives the first answer to it", async () => {
    const pipeline = askingTwice();
    const { scene, run } = await untilAsked(pipeline);
    await tell(run, "Mara");
    await work(pipeline);
    await loseCommit(run);
    await work(pipeline);

    expect(await wholeOf(run)).toMatchObject({ status: "waiting", question: "And then, in The pier?" });
    await tell(run, "Anna");
    await work(pipeline);
    expect(await said(scene)).toEqual({ said: "Mara, Anna" });
  });

  /** All that a commit would have stored is gone; what the graph had saved before it is there. */
  async function loseCommit({ id }: Run): Promise<void> {
    await database.pool.query(
      "update pipeline_runs set status = 'pending', question = null, waiting_since = null where id = $1",
      [id],
    );
    await database.pool.query("delete from questions where run_id = $1 and answered_at is null", [id]);
  }
});

describe("several questions at once", () => {
  test("are answered each by its id, in any order, and the run goes on with the last", async () => {
    const pipeline = askingAll();
    const { scene, run } = await untilAsked({ ...pipeline });
    const { questions } = await wholeOf(run);
    const ids = new Map(questions.map(({ id, question }) => [String(question), id]));
    expect([...ids.keys()].toSorted()).toEqual(["“You", "Mara.", "came,”", "said"].toSorted());

    for (const word of ["Mara.", "said", "came,”"]) {
      expect(await tellEach(run, { [ids.get(word) ?? ""]: word.toUpperCase() })).toMatchObject({
        status: "waiting",
      });
    }
    const last = await tellEach(run, { [ids.get("“You") ?? ""]: "HER" });
    expect(last).toMatchObject({ status: "pending", open: [] });
    await work(pipeline);

    expect(await said(scene)).toEqual({ said: ["CAME,”", "HER", "MARA.", "SAID"].toSorted().join(" ") });
  });

  test("cannot be answered by one answer without its id", async () => {
    const { run } = await untilAsked(askingAll());
    const { questions } = await wholeOf(run);

    await expect(tell(run, "all")).rejects.toMatchObject({
      code: "INPUT_INVALID",
      message: expect.stringContaining(questions[3]?.id ?? "?"),
    });
    expect(await wholeOf(run)).toMatchObject({ status: "waiting" });
  });
});

describe("of two answers", () => {
  test("at once one is kept, and the other is told whose", async () => {
    const pipeline = asking("Who?");
    const { scene, run } = await untilAsked(pipeline);
    const names = ["Mara", "Anna", "Ines", "Ada", "Ruth"];
    const told = await Promise.allSettled(
      names.map((name) => answerRun(database.pool, run, one(name), name)),
    );
    await work(pipeline);

    const winner = names[told.findIndex(({ status }) => status === "fulfilled")];
    expect(told.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    for (const { reason } of told.filter((each) => each.status === "rejected")) {
      expect(reason).toMatchObject({
        code: "STATE_TRANSITION",
        message: expect.stringContaining(`it was answered by ${winner} at `),
      });
    }
    expect(await said(scene)).toEqual({ said: winner });
  });

  const one = (answer: unknown): Told => ({ kind: "one", answer });
});

describe("an answer", () => {
  test("that does not fit the question's schema is refused, with what is wrong", async () => {
    const pipeline = asking("Who?", {
      answerSchema: z.object({ name: z.string().min(2) }),
      tell: JSON.stringify,
    });
    const { run, scene } = await untilAsked(pipeline);
    expect((await wholeOf(run)).questions).toMatchObject([
      { answer_schema: { type: "object", properties: { name: { type: "string", minLength: 2 } } } },
    ]);

    for (const answer of ["Mara", {}, { name: 7 }, { name: "M" }]) {
      await expect(tell(run, answer)).rejects.toMatchObject({ code: "INPUT_INVALID" });
    }
    await tell(run, { name: "Mara" });
    await work(pipeline);
    expect(await said(scene)).toEqual({ said: '{"name":"Mara"}' });
  });

  test("that only the graph can refuse makes it ask again, and costs nothing", async () => {
    const isName = z.string().refine((name) => name === "Mara", "expected somebody who is there");
    const pipeline = asking("Who?", { answerSchema: isName });
    const { run, scene } = await untilAsked(pipeline);
    await tell(run, "Anna");
    await work(pipeline);
    expect(await wholeOf(run)).toMatchObject({
      ...{ status: "waiting", errors: [] },
      questions: [
        { answer: null, refused_because: expect.stringContaining("expected somebody who is there") },
      ],
    });

    await tell(run, "Mara");
    await work(pipeline);
    expect(await said(scene)).toEqual({ said: "Mara" });
  });

  test.each([
    ["nested too deeply", nested(200), "100 levels"],
    ["too long", "a".repeat(70_000), "65536 characters"],
    ["with a NUL", { a: ["b\0"] }, "without NUL"],
    ["with half a character", { "\ud800": 1 }, "without NUL and lone surrogates"],
  ])("%s is refused", async (_, answer, why) => {
    const { run } = await untilAsked(asking("Who?"));
    await expect(tell(run, answer)).rejects.toMatchObject({
      code: "INPUT_INVALID",
      message: expect.stringContaining(why),
    });
  });

  function nested(levels: number): unknown {
    return levels === 0 ? "deep" : [nested(levels - 1)];
  }

  test("to a question that nobody asks is refused", async () => {
    const { run } = await untilAsked(asking("Who?"));
    await expect(tellEach(run, { nothing: 1 })).rejects.toMatchObject({ code: "INPUT_INVALID" });
  });

  test("to a run that does not wait, or that is not there, says so", async () => {
    const pipeline = asking("Who?");
    const { run } = await untilAsked(pipeline);
    await cancelRun(database.pool, run.tenant_id, run.id);

    await expect(tell(run, "Mara")).rejects.toMatchObject({
      code: "STATE_TRANSITION",
      message: `run ${run.id} waits for no answer: it is cancelled`,
    });
    await expect(tell({ ...run, tenant_id: run.id }, "Mara")).rejects.toMatchObject({ code: "NOT_FOUND" });
  });
});

describe("what changed while a run waited", () => {
  test.each<[string, Given, Given]>([
    ["the version of its pipeline", { version: 1 }, { version: 2 }],
    ["its model", { local: "small" }, { local: "large" }],
  ])("%s, makes it ask anew, and its answer is set aside", async (_, before, after) => {
    const { run, scene } = await untilAsked(asking("Who?", before));
    await tell(run, "Mara");
    const changed = asking("Who is it now?", after);
    await work(changed);

    expect(await wholeOf(run)).toMatchObject({
      ...{ status: "waiting", question: "Who is it now?" },
      questions: [
        { question: "Who?", answer: "Mara", set_aside_at: expect.any(Date) },
        { question: "Who is it now?", answered_at: null, set_aside_at: null },
      ],
    });
    await tell(run, "Anna");
    await work(changed);
    expect(await said(scene)).toEqual({ said: "Anna" });
  });

  test("its text, makes a newer run ask, and nobody need answer the older one", async () => {
    const pipeline = asking("Who?");
    const { run, scene } = await untilAsked(pipeline);
    await takeScene(runtime(database, pipeline), { ...scene, text: "“You came,” said Anna." });
    await work(pipeline);

    const newer = await runAbout(runtime(database), scene);
    expect(newer).toMatchObject({ status: "waiting", source_version: 2 });
    expect(await wholeOf(run)).toMatchObject({
      status: "cancelled",
      error_code: "CANCELLED",
      question: null,
    });
    await expect(tell(run, "Mara")).rejects.toMatchObject({ code: "STATE_TRANSITION" });
  });

  test("nothing but metadata, and the answer takes the place of the run that is pending", async () => {
    const pipeline = asking("Who?");
    const { run, scene } = await untilAsked(pipeline);
    await takeScene(runtime(database, pipeline), { ...scene, metadata: { note: "new" } });
    await using base = startWorker(runtime(database, pipeline), database, { pipelines: ["base"] });
    await base.untilDone();
    const pending = await runAbout(runtime(database), scene);
    expect(pending).toMatchObject({ status: "pending", source_version: 2 });
    await tell(run, "Mara");
    await work(pipeline);

    expect(await wholeOf(run)).toMatchObject({ status: "success", source_version: 2, outcome: "completed" });
    expect(await wholeOf(pending)).toMatchObject({
      ...{ status: "cancelled", error_message: `run ${run.id} was answered, and does its work` },
    });
    expect(await said(scene)).toEqual({ said: "Mara" });
  });

  test("its entity went, and so did the run", async () => {
    const pipeline = asking("Who?");
    const { run, scene } = await untilAsked(pipeline);
    await removeEntities(database.pool, runtime(database, pipeline).registry, scene.tenant_id, [scene]);

    expect(await wholeOf(run)).toMatchObject({ status: "cancelled", question: null });
    await expect(tell(run, "Mara")).rejects.toMatchObject({ code: "STATE_TRANSITION" });
  });

  test("its entity went, and with it what was asked and said about it", async () => {
    const pipeline = askingTwice();
    const [{ run, scene }, other] = [await untilAsked(pipeline), await untilAsked(pipeline)];
    await tell(run, "Mara");
    await work(pipeline);
    expect((await wholeOf(run)).questions).toHaveLength(2);
    await removeEntities(database.pool, runtime(database, pipeline).registry, scene.tenant_id, [scene]);

    expect((await wholeOf(run)).questions).toEqual([]);
    expect((await wholeOf(other.run)).questions).toHaveLength(1);
  });
});

describe("a question that expires", () => {
  const expiring = (given: Given & Telling = {}) =>
    asking("Who?", {
      ...given,
      questions: { expireHours: 48, default: (question) => `nobody: ${question}` },
    });
  const passTime = () =>
    database.pool.query(
      "update questions set expires_at = expires_at - interval '49 hours' where answered_at is null",
    );

  test("is answered with its default, by the database's clock, and the run goes on", async () => {
    const { run, scene } = await untilAsked(expiring());
    await expireQuestions(database.pool);
    expect(await wholeOf(run)).toMatchObject({
      ...{ status: "waiting", questions: [{ default_answer: "nobody: Who?", expires_at: expect.any(Date) }] },
    });
    await passTime();
    await using _ = startWorker(runtime(database, expiring()), database);

    await expect.poll(async () => (await wholeOf(run)).status, { timeout: 20_000 }).toBe("success");
    expect((await wholeOf(run)).questions).toMatchObject([
      { answer: "nobody: Who?", answered_by: "expired" },
    ]);
    expect(await said(scene)).toEqual({ said: "nobody: Who?" });
  });

  test("goes as many at a time as it is told, and those of runs that do not wait are forgotten", async () => {
    const runs = [await untilAsked(expiring()), await untilAsked(expiring()), await untilAsked(expiring())];
    await passTime();
    await cancelRun(database.pool, only(runs.slice(0, 1)).run.tenant_id, only(runs.slice(0, 1)).run.id);

    expect(await expireQuestions(database.pool, 1)).toBe(1);
    expect(await expireQuestions(database.pool, 1)).toBe(1);
    expect(await expireQuestions(database.pool, 1)).toBe(0);
    const ends = await Promise.all(runs.map(async ({ run }) => (await wholeOf(run)).status));
    expect(ends).toEqual(["cancelled", "pending", "pending"]);
  });

  test("and is answered by a person at the same moment, is answered once", async () => {
    const { run } = await untilAsked(expiring());
    await passTime();
    const [told] = await Promise.allSettled([tell(run, "Mara"), expireQuestions(database.pool)]);
    const { status, questions } = await wholeOf(run);

    expect(status).toBe("pending");
    expect(questions[0]?.answered_by).toBe(told.status === "fulfilled" ? "Ines" : "expired");
  });

  test("into what does not fit it is a mistake of the pipeline", async () => {
    const { run } = await untilAsked(expiring({ answerSchema: z.number() }));

    expect(run).toMatchObject({ status: "failed", error_code: "PIPELINE_INVALID", attempt: 1 });
  });
});

test("that a run waits is told, without what it asks", async () => {
  const { run, scene } = await untilAsked(asking({ who: "?" }));
  const told = (await eventsOf(database.pool, scene)).filter(({ event }) => event === "run.waiting");

  expect(told).toMatchObject([{ run_id: run.id, version: 1 }]);
  expect(told.map(({ metadata }) => metadata)).toEqual([{ pipeline: "echo", run_id: run.id }]);
});

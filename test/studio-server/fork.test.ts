import { randomUUID } from "node:crypto";
import { rm } from "node:fs/promises";
import { dirname } from "node:path";
import type { Client, ThreadState } from "@langchain/langgraph-sdk";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { Retention } from "../../checkpoints/retention.ts";
import { usageByPipeline } from "../../checkpoints/usage.ts";
import { type Fork, findFork } from "../../src/forks/fork.ts";
import { makeFork } from "../../src/forks/make.ts";
import { promoteFork } from "../../src/forks/promote.ts";
import { removeEntities } from "../../src/intake.ts";
import { findRun } from "../../src/ledger/look.ts";
import { findRunThread } from "../../src/ledger/threads.ts";
import { previousOutput } from "../../src/store/enrichments.ts";
import { stampKey } from "../../src/store/stamps.ts";
import type { Context } from "../../src/worker/context.ts";
import { run as runCommand } from "../support/cli.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { threeSteps } from "../support/pipelines.ts";
import { runAbout, runtime, startWorker, takeScene } from "../support/runtime.ts";
import { type Studio, startStudio, studioGraphs, wholeDatabase } from "../support/studio.ts";
import { all } from "../support/studio-pipelines.ts";

type Said = { said?: string };
type Scene = Awaited<ReturnType<typeof takeScene>>;

let database: TestDatabase;
let context: Context;
let graphs: string;
let studio: Studio;
let client: Client;

beforeAll(async () => {
  database = await testDatabase();
  context = runtime(database, ...all);
  graphs = await studioGraphs();
  studio = await startStudio(database, { graphs, args: ["--allow-fork"] });
  client = studio.client;
}, 120_000);
afterAll(async () => {
  await studio?.stop();
  await rm(dirname(graphs), { recursive: true });
});

/** A scene that every pipeline has run on. */
async function ranScene(): Promise<Scene> {
  await using worker = startWorker(context, database);
  const scene = await takeScene(context, { text: "the tide turns" });
  await worker.untilIdle();
  return scene;
}

const runOf = async (scene: Scene, pipeline = "steps") => (await runAbout(context, scene, pipeline)).id;

/** The state of a run before its node `next`. */
async function stateBefore(thread_id: string, next: string): Promise<ThreadState<Said>> {
  const history = await client.threads.getHistory<Said>(thread_id);
  const state = history.find((each) => each.next.includes(next));
  if (!state) throw new Error(`expected ${thread_id} to have stood before ${next}`);
  return state;
}

async function collected<Event>(events: AsyncIterable<Event>): Promise<readonly Event[]> {
  const all: Event[] = [];
  for await (const event of events) all.push(event);
  return all;
}

/** The id of the thread that an edited state is of. */
async function edited(scene: Scene, said = "edited"): Promise<string> {
  const run = await runOf(scene);
  const { checkpoint } = await stateBefore(run, "three");
  const at = await client.threads.updateState(run, { values: { said }, checkpoint, asNode: "two" });
  return threadOf(at);
}

/** The SDK's type knows only a config; the server names the checkpoint, as LangGraph's own does. */
function threadOf(at: object): string {
  return z.object({ checkpoint: z.object({ thread_id: z.guid() }) }).parse(at).checkpoint.thread_id;
}

async function finishedFork(scene: Scene, said?: string): Promise<Fork> {
  const thread_id = await edited(scene, said);
  await client.runs.wait(thread_id, "steps", { input: null });
  return await theFork(thread_id);
}

async function theFork(id: string): Promise<Fork> {
  const fork = await findFork(database.pool, id);
  if (!fork) throw new Error(`expected a fork ${id}`);
  return fork;
}

const ofForks = ["forks", "checkpoints", "checkpoint_blobs", "checkpoint_writes"];

async function checkpointsOf(thread_id: string): Promise<string> {
  const { rows } = await database.pool.query(
    `select c::text from checkpoints c where thread_id = $1
     union all select w::text from checkpoint_writes w where thread_id = $1
     union all select b::text from checkpoint_blobs b where thread_id = $1 order by 1`,
    [thread_id],
  );
  return rows.map((row) => row.c).join("\n");
}

test("an edited state is gone on from in a fork, which stores nothing until it is promoted", async () => {
  const scene = await ranScene();
  const run = await runOf(scene);
  const before = [await wholeDatabase(database, ofForks), await checkpointsOf(run)];

  const thread_id = await edited(scene);
  const events = await collected(
    client.runs.stream(thread_id, "steps", { input: null, streamMode: ["updates", "values"] }),
  );
  const state = await client.threads.getState<Said>(thread_id);

  expect(thread_id).not.toBe(run);
  expect(events.map(({ event }) => event)).toEqual(["metadata", "values", "updates", "values"]);
  expect(events[2]?.data).toEqual({ three: { said: "edited three" } });
  expect(events[3]?.data).toMatchObject({ said: "edited three", text: scene.text });
  expect([state.values.said, state.next]).toEqual(["edited three", []]);
  expect(await client.threads.get(thread_id)).toMatchObject({
    status: "idle",
    metadata: { kind: "fork", run_id: run, pipeline: "steps", tenant_id: scene.tenant_id },
  });
  expect([await wholeDatabase(database, ofForks), await checkpointsOf(run)]).toEqual(before);
  const { stamp } = await theFork(thread_id);
  const { rows } = await database.pool.query(
    "select distinct metadata ->> 'stamp' as stamp from checkpoints where thread_id in ($1, $2)",
    [thread_id, run],
  );
  expect(rows).toEqual([{ stamp: stampKey(stamp) }]);

  const settings = { DATABASE_URL: database.url, LOREGRAPH_GRAPHS: graphs };
  const promoted = await runCommand(["fork", "promote", thread_id, "--json"], settings);
  const { run_id } = JSON.parse(promoted.out || "{}");

  expect(promoted).toMatchObject({ code: 0 });
  expect(await previousOutput(database.pool, scene, "steps")).toEqual({ said: "edited three" });
  expect(await findRun(database.pool, scene.tenant_id, run_id)).toMatchObject({
    pipeline: "steps",
    status: "success",
    outcome: "completed",
    force: true,
    parent_run_id: run,
    worker: null,
  });
  const told = await database.pool.query(
    "select event, metadata ->> 'pipeline' as pipeline from events where run_id = $1",
    [run_id],
  );
  expect(told.rows).toEqual([{ event: "entity.enriched", pipeline: "steps" }]);
  expect(await theFork(thread_id)).toMatchObject({ status: "promoted", promoted_run_id: run_id });
  const again = await runCommand(["fork", "promote", thread_id], settings);
  expect(again).toMatchObject({ code: 2, err: expect.stringContaining("is not open") });
}, 120_000);

test("a run is gone on from at a checkpoint, in a fork that the answer names", async () => {
  const run = await runOf(await ranScene());
  const { checkpoint } = await stateBefore(run, "two");
  let created: { run_id: string; thread_id?: string | undefined } | undefined;
  const events = await collected(
    client.runs.stream(run, "steps", {
      input: null,
      checkpointId: String(checkpoint.checkpoint_id),
      streamMode: "updates",
      onRunCreated: (made) => {
        created = made;
      },
    }),
  );
  const thread_id = String(created?.thread_id);

  expect(events.slice(1).map(({ data }) => data)).toEqual([
    { two: { said: "one two" } },
    { three: { said: "one two three" } },
  ]);
  expect(events[0]?.data).toMatchObject({ thread_id, run_id: created?.run_id });
  expect(await client.runs.get(thread_id, String(created?.run_id))).toMatchObject({ status: "success" });
  expect(await theFork(thread_id)).toMatchObject({ run_id: run, checkpoint_id: checkpoint.checkpoint_id });
}, 60_000);

test("a waiting run is answered in a fork, and goes on waiting itself", async () => {
  const scene = await ranScene();
  const run = await runOf(scene, "asks");
  const fork = await client.threads.copy(run);
  const { thread_id } = fork as unknown as { thread_id: string };
  const values = await client.runs.wait(thread_id, "asks", { command: { resume: "Mara" } });

  expect(fork).toMatchObject({ status: "interrupted" });
  expect(values).toMatchObject({ said: "Mara" });
  expect(await client.threads.get(run)).toMatchObject({
    status: "interrupted",
    metadata: { status: "waiting" },
  });
}, 60_000);

test("runs in the background, can be joined, and stops before a node where it is asked to", async () => {
  const source = await runOf(await ranScene());
  const { checkpoint } = await stateBefore(source, "two");
  const at = await client.threads.updateState(source, {
    values: { said: "here" },
    checkpoint,
    asNode: "one",
  });
  const thread_id = threadOf(at);
  const run = await client.runs.create(thread_id, "steps", { input: null, interruptBefore: ["three"] });
  const values = await client.runs.join(thread_id, run.run_id);
  const state = await client.threads.getState(thread_id);

  expect(values).toMatchObject({ said: "here two" });
  expect(state.next).toEqual(["three"]);
  await expect(promoteFork(context, await theFork(thread_id), { by: "test" })).rejects.toThrow(
    "has not finished: run it to its end first; three comes next",
  );
}, 60_000);

describe("promoting", () => {
  test("two at once: one of them is the one", async () => {
    const scene = await ranScene();
    const fork = await finishedFork(scene, "twice");
    const promote = () => promoteFork(context, fork, { by: "test" });
    const ended = await Promise.allSettled([promote(), promote()]);

    expect(ended.map(({ status }) => status).toSorted()).toEqual(["fulfilled", "rejected"]);
    const refusal = ended.find(({ status }) => status === "rejected");
    expect(refusal).toMatchObject({ reason: { code: "STATE_TRANSITION" } });
    const { rows } = await database.pool.query(
      "select count(*)::integer as runs from pipeline_runs where tenant_id = $1 and pipeline = 'steps'",
      [scene.tenant_id],
    );
    expect(rows).toEqual([{ runs: 2 }]);
  }, 60_000);

  test("is refused where the entity has changed since, unless it is wanted anyway", async () => {
    const scene = await ranScene();
    const fork = await finishedFork(scene, "of old");
    await takeScene(context, { ...scene, text: "the tide has turned" });

    await expect(promoteFork(context, fork, { by: "test" })).rejects.toMatchObject({
      code: "FORK_REFUSED",
      message: expect.stringContaining("at version 2, the fork's answer is about version 1"),
    });
    await promoteFork(context, fork, { by: "test", anyway: true });
    const { rows } = await database.pool.query(
      "select source_version, output from enrichments where tenant_id = $1 and pipeline = 'steps'",
      [scene.tenant_id],
    );
    expect(rows).toEqual([{ source_version: 1, output: { said: "of old three" } }]);
  }, 60_000);

  test("is refused while a run of the same key is running", async () => {
    const scene = await ranScene();
    const fork = await finishedFork(scene);
    const { id } = await runAbout(context, scene, "steps");
    await database.pool.query(
      `insert into pipeline_runs (tenant_id, source_type, source_id, source_version, pipeline, max_attempts, status,
         lease_token, lease_expires_at, worker, started_at)
       select tenant_id, source_type, source_id, source_version, pipeline, 1, 'running', gen_random_uuid(),
         now() + interval '1 hour', 'another', now()
       from pipeline_runs where id = $1`,
      [id],
    );
    await expect(promoteFork(context, fork, { by: "test" })).rejects.toThrow("is running: promote when");
    expect(await theFork(fork.id)).toMatchObject({ status: "open" });
    await database.pool.query("delete from pipeline_runs where worker = 'another'");
  }, 60_000);

  test("an event that its pipeline does not announce is refused, and the fork stays open", async () => {
    const scene = await ranScene();
    const run = await runOf(scene);
    const state = await client.threads.getState(run);
    const copy = (await client.threads.copy(run)) as unknown as { thread_id: string };
    const { checkpoint_id } = state.checkpoint;
    await client.threads.updateState(copy.thread_id, {
      values: { events: [{ event: "unheard.of", metadata: {} }] },
      checkpointId: String(checkpoint_id),
      asNode: "three",
    });
    const fork = await theFork(copy.thread_id);

    await expect(promoteFork(context, fork, { by: "test" })).rejects.toMatchObject({
      code: "EVENT_UNKNOWN",
    });
    expect(await theFork(fork.id)).toMatchObject({ status: "open" });
    expect(await previousOutput(database.pool, scene, "steps")).toEqual({ said: "one two three" });
  }, 60_000);
});

describe("forking is refused in words", () => {
  test("where nothing was kept, where the checkpoint is none, and for another assistant", async () => {
    const scene = await ranScene();
    const [steps, quick] = [await runOf(scene), await runOf(scene, "quick")];

    await expect(client.threads.copy(quick)).rejects.toThrow("has no checkpoint to go on from");
    await expect(
      client.threads.updateState(steps, { values: { said: "" }, checkpointId: randomUUID() }),
    ).rejects.toThrow("CHECKPOINT_UNKNOWN");
    await expect(client.runs.wait(steps, "quick", { input: null })).rejects.toThrow("expected the assistant");
    const wrong: readonly { values: Record<string, unknown>; asNode: string }[] = [
      { values: { said: "" }, asNode: "four" },
      { values: { said: 7 }, asNode: "three" },
    ];
    for (const edit of wrong)
      await expect(client.threads.updateState(steps, edit)).rejects.toThrow("cannot be edited so");
  }, 60_000);

  test("where the pipeline has another version by now", async () => {
    const scene = await ranScene();
    const fork = await finishedFork(scene);
    const newer = threeSteps(() => {}, { name: "steps", version: 2 });
    const changed = { ...context, registry: new Map([...context.registry, ["steps", newer]]) };
    const run = await findRunThread(database.pool, fork.run_id);
    if (!run) throw new Error("expected the run of the fork");

    await expect(makeFork(changed, run, { by: "test" })).rejects.toThrow("pipeline version was 1, is 2");
    await expect(promoteFork(changed, fork, { by: "test" })).rejects.toMatchObject({ code: "FORK_REFUSED" });
  }, 60_000);
});

test("a fork goes with its entity, and its checkpoints with the next walk", async () => {
  const scene = await ranScene();
  const fork = await finishedFork(scene);
  await removeEntities(context.pool, context.registry, scene.tenant_id, [scene]);
  await new Retention([]).deleteOld(database.pool);

  expect(await checkpointsOf(fork.id)).toBe("");
  expect(await theFork(fork.id)).toMatchObject({ status: "dropped", expires_at: null });
  await expect(promoteFork(context, fork, { by: "test" })).rejects.toMatchObject({
    code: "STATE_TRANSITION",
  });
}, 60_000);

test("a fork that nobody promotes expires with its checkpoints; dropping one is at once", async () => {
  const scene = await ranScene();
  const [fork, dropped] = [await finishedFork(scene), await finishedFork(scene)];
  const settings = { DATABASE_URL: database.url, LOREGRAPH_GRAPHS: graphs };
  const counted = (await usageByPipeline(database.pool, [])).find(({ pipeline }) => pipeline === "steps");
  expect(counted?.forks).toBeGreaterThanOrEqual(2);

  expect(await runCommand(["fork", "drop", dropped.id], settings)).toMatchObject({
    code: 0,
    out: "dropped\n",
  });
  expect(await checkpointsOf(dropped.id)).toBe("");
  await database.pool.query("update forks set expires_at = now() - interval '1 minute' where id = $1", [
    fork.id,
  ]);
  await new Retention([]).deleteOld(database.pool);

  expect(await checkpointsOf(fork.id)).toBe("");
  expect(await theFork(fork.id)).toMatchObject({ status: "expired", expires_at: null });
  expect(await checkpointsOf(fork.run_id)).not.toBe("");
  await expect(client.threads.getState(fork.id)).rejects.toThrow("a fork that is expired");
  await expect(promoteFork(context, fork, { by: "test" })).rejects.toMatchObject({
    code: "STATE_TRANSITION",
  });
  const listed = await runCommand(["fork", "list", "--run", fork.run_id], settings);
  expect(listed.out).toContain("expired");
  expect(listed.out).toContain("dropped");
}, 90_000);

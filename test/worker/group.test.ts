import { randomUUID } from "node:crypto";
import { afterEach, beforeAll, expect, test } from "vitest";
import { openPool } from "../../src/db.ts";
import { removeEntities } from "../../src/intake.ts";
import { claimRuns } from "../../src/ledger/claim.ts";
import { renewLeases } from "../../src/ledger/lease.ts";
import { listRuns } from "../../src/ledger/read.ts";
import type { ClaimedRun } from "../../src/ledger/run.ts";
import { noUsage, type Pipeline } from "../../src/pipeline.ts";
import { enrichmentsBy, enrichmentsOf } from "../../src/store/enrichments.ts";
import { readEntity } from "../../src/store/entities.ts";
import { eventsOf } from "../../src/store/events.ts";
import { commitEnding } from "../../src/worker/commit.ts";
import type { Context } from "../../src/worker/context.ts";
import type { Ended } from "../../src/worker/ended.ts";
import type { GraphEnding } from "../../src/worker/ending.ts";
import { type SharedContext, shared } from "../../src/worker/together.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { runOf, stamp } from "../support/ledger.ts";
import { echo } from "../support/pipelines.ts";
import { emptyLedger, runtime, takeScene } from "../support/runtime.ts";
import { tapOf } from "../support/tap.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
  // A deadlock is found before the patience of a group ends.
  await database.pool.query(
    `do $$ begin execute format('alter database %I set deadlock_timeout = ''10ms''', current_database()); end $$`,
  );
});
afterEach(() => emptyLedger(database));

/** An enricher of whatever is taken in; its graph is never run here. */
const reader = (name: string, emits: readonly string[] = []): Pipeline =>
  echo(() => ({ said: "" }), { name, emits, trigger: { on: "entity.changed" } });

/** Runs right after their mood was found. */
const listener = echo(() => ({ said: "" }), { name: "listener", trigger: { on: "mood.found" } });

const moodFound = { event: "mood.found", metadata: {} };

async function claimAll(pipelines: readonly string[], leaseMs = 60_000): Promise<readonly ClaimedRun[]> {
  return await claimRuns(database.pool, { worker: "w", pipelines, limit: 100, leaseMs });
}

/** How an attempt at a run ended, whose graph answered `said` unless `ending` says otherwise. */
async function ended(context: Context, run: ClaimedRun, given: Partial<GraphEnding> = {}): Promise<Ended> {
  const pipeline = context.registry.get(run.pipeline);
  if (!pipeline) throw new Error(`no pipeline ${run.pipeline}`);
  const answered = { kind: "answered", answer: { said: run.pipeline }, stamp } as const;
  const ending = { ...answered, ...given } as GraphEnding;
  return { run, pipeline, entity: await readEntity(database.pool, run), ending, usage: noUsage, calls: [] };
}

/** Commits endings that are due at one moment, and gives what became of each. */
async function commit(context: SharedContext, endings: readonly Ended[]): Promise<readonly string[]> {
  const { signal } = new AbortController();
  const committed = await Promise.all(endings.map((each) => commitEnding(context, each, signal)));
  return committed.map(({ ending }) => ending.kind);
}

/** A worker's side of things on connections of its own, of which the test learns what they say. */
async function tapped(...pipelines: readonly Pipeline[]) {
  const tap = await tapOf(database.url);
  const pool = openPool(tap.url);
  return {
    ...tap,
    context: shared(runtime({ pool, url: tap.url }, ...pipelines)),
    commits: () => tap.statements.filter(({ text }) => text === "commit").length,
    async [Symbol.asyncDispose]() {
      await pool.end();
      await tap[Symbol.asyncDispose]();
    },
  };
}

async function takeScenes(context: Context, count: number) {
  const tenant_id = randomUUID();
  return await Promise.all(Array.from({ length: count }, () => takeScene(context, { tenant_id })));
}

const statusesOf = async (runs: readonly ClaimedRun[]) =>
  (await Promise.all(runs.map((run) => runOf(database.pool, run)))).map(({ status }) => status);

test("endings that are due together are one transaction, and each is stored and told", async () => {
  await using worker = await tapped(reader("one"), reader("two", ["mood.found"]), listener);
  const { context } = worker;
  const scenes = await takeScenes(context, 5);
  const runs = await claimAll(["one", "two"]);
  const before = worker.commits();
  const answer = { said: "two", events: [moodFound, moodFound] };
  const endings = runs.map((run) => ended(context, run, run.pipeline === "two" ? { answer } : {}));
  expect(new Set(await commit(context, await Promise.all(endings)))).toEqual(new Set(["answered"]));

  expect(worker.commits() - before).toBe(1);
  expect(new Set(await statusesOf(runs))).toEqual(new Set(["success"]));
  for (const scene of scenes) {
    expect(await enrichmentsOf(database.pool, scene)).toMatchObject([
      { pipeline: "one", output: { said: "one" } },
      { pipeline: "two", output: { said: "two" } },
    ]);
    const two = runs.find(({ pipeline, source_id }) => pipeline === "two" && source_id === scene.source_id);
    const events = await eventsOf(database.pool, scene);
    expect(events.filter(({ run_id }) => run_id === two?.id).map(({ event }) => event)).toEqual([
      "entity.enriched",
      "mood.found",
      "mood.found",
    ]);
    const followed = await listRuns(database.pool, { source_id: scene.source_id, pipeline: "listener" });
    expect(followed).toMatchObject([
      {
        status: "pending",
        parent_run_id: two?.id,
        cause_event: events.findLast((e) => e.run_id === two?.id)?.id,
      },
    ]);
  }
});

test("a lease that was lost is lost alone: nothing of its ending is stored", async () => {
  await using worker = await tapped(reader("one"), listener);
  const { context } = worker;
  await takeScenes(context, 6);
  const runs = await claimAll(["one"]);
  const [stale] = runs;
  await database.pool.query("update pipeline_runs set lease_token = gen_random_uuid() where id = $1", [
    stale?.id,
  ]);
  const before = worker.commits();
  const kinds = await commit(context, await Promise.all(runs.map((run) => ended(context, run))));

  expect(kinds).toEqual(["lost", ...Array(5).fill("answered")]);
  expect(worker.commits() - before).toBe(1);
  expect(await statusesOf(runs)).toEqual(["running", ...Array(5).fill("success")]);
  for (const run of runs) {
    const about = { ...run, source_type: "scene" as const };
    const told = (await eventsOf(database.pool, about)).filter(({ run_id }) => run_id === run.id);
    expect(await enrichmentsOf(database.pool, about)).toHaveLength(run === stale ? 0 : 1);
    expect(told).toHaveLength(run === stale ? 0 : 1);
  }
});

test("what the database refuses fails alone, as a failure to commit", async () => {
  await database.pool.query(
    "alter table enrichments add constraint polite check (output ->> 'said' <> 'damn')",
  );
  await using worker = await tapped(reader("one"));
  const { context } = worker;
  await takeScenes(context, 9);
  const runs = await claimAll(["one"]);
  const endings = runs.map((run, nth) => ended(context, run, nth === 4 ? { answer: { said: "damn" } } : {}));
  const kinds = await commit(context, await Promise.all(endings));
  await database.pool.query("alter table enrichments drop constraint polite");

  const apart = (at: string, rest: string) => Array.from(runs, (_, nth) => (nth === 4 ? at : rest));
  expect(kinds).toEqual(apart("retry", "answered"));
  expect(await statusesOf(runs)).toEqual(apart("pending", "success"));
  expect(
    await listRuns(database.pool, { source_id: runs[4]?.source_id ?? "", pipeline: "one" }),
  ).toMatchObject([{ errors: [{ code: "COMMIT_FAILED" }] }]);
  expect(await enrichmentsBy(database.pool, runs[0]?.tenant_id ?? "", "one")).toHaveLength(8);
});

test("what a pipeline's own code throws about an answer concerns no other", async () => {
  const outcome = ({ said }: { said: string }) => {
    if (said === "damn") throw new Error("no");
    return "completed" as const;
  };
  await using worker = await tapped(
    echo(() => ({ said: "" }), { name: "one", outcome, trigger: { on: "entity.changed" } }),
  );
  const { context } = worker;
  await takeScenes(context, 3);
  const runs = await claimAll(["one"]);
  const before = worker.commits();
  const endings = runs.map((run, nth) => ended(context, run, nth === 1 ? { answer: { said: "damn" } } : {}));

  expect(await commit(context, await Promise.all(endings))).toEqual(["answered", "retry", "answered"]);
  expect(worker.commits() - before).toBe(2);
});

test.each([["insert into events"], ["update pipeline_runs"], ["^commit"]])(
  "a connection that breaks at %s leaves nothing of a group, and all of it is stored by the next one",
  async (statement) => {
    await using worker = await tapped(reader("one", ["mood.found"]), listener);
    const { context } = worker;
    const scenes = await takeScenes(context, 4);
    const runs = await claimAll(["one"]);
    const endings = runs.map((run) => ended(context, run, { answer: { said: "x", events: [moodFound] } }));
    const due = await Promise.all(endings);
    worker.cutAt(new RegExp(statement));

    expect(await commit(context, due)).toEqual(Array(4).fill("answered"));
    expect(await statusesOf(runs)).toEqual(Array(4).fill("success"));
    for (const scene of scenes) {
      const events = (await eventsOf(database.pool, scene)).map(({ event }) => event);
      expect(events).toEqual(["entity.changed", "entity.enriched", "mood.found"]);
      expect(
        await listRuns(database.pool, { source_id: scene.source_id, pipeline: "listener" }),
      ).toHaveLength(1);
    }
  },
);

test("an entity that is gone cancels its run, and the others are stored", async () => {
  await using worker = await tapped(reader("one"));
  const { context } = worker;
  const scenes = await takeScenes(context, 3);
  const runs = await claimAll(["one"]);
  const due = await Promise.all(runs.map((run) => ended(context, run)));
  const doomed = scenes.filter(({ source_id }) => source_id === runs[1]?.source_id);
  await removeEntities(database.pool, context.registry, scenes[0]?.tenant_id ?? "", doomed);

  await commit(context, due);
  expect(await statusesOf(runs)).toEqual(["success", "cancelled", "success"]);
});

test("runs that end, wait and are cancelled share a transaction", async () => {
  await using worker = await tapped(reader("one"));
  const { context } = worker;
  await takeScenes(context, 4);
  const runs = await claimAll(["one"]);
  const how: readonly Partial<GraphEnding>[] = [
    {},
    { kind: "waiting", questions: [{ id: "q", question: null }] },
    { kind: "cancelled", reason: "cancelled on request" },
    { kind: "duplicate" },
  ];
  const before = worker.commits();
  const kinds = await commit(
    context,
    await Promise.all(runs.map((run, nth) => ended(context, run, how[nth]))),
  );

  expect(kinds).toEqual(["answered", "waiting", "cancelled", "duplicate"]);
  expect(worker.commits() - before).toBe(1);
  expect(await statusesOf(runs)).toEqual(["success", "waiting", "cancelled", "success"]);
});

test("whoever holds an entity keeps only its own ending waiting", async () => {
  await using worker = await tapped(reader("one"));
  const { context } = worker;
  await takeScenes(context, 4);
  const runs = await claimAll(["one"]);
  const holder = await database.pool.connect();
  await holder.query("begin");
  await holder.query("select from entities where source_id = $1 for update", [runs[2]?.source_id]);
  const { signal } = new AbortController();
  const due = await Promise.all(runs.map((run) => ended(context, run)));
  const committed = due.map((each) => commitEnding(context, each, signal));
  await Promise.all(committed.filter((_, nth) => nth !== 2));
  expect(await statusesOf(runs)).toEqual(["success", "success", "running", "success"]);

  await holder.query("rollback");
  holder.release();
  await committed[2];
  expect(await statusesOf(runs)).toEqual(Array(4).fill("success"));
});

test("groups of two workers about the same entities, with the same runs to follow, never wait for each other in turn", async () => {
  await using left = await tapped(reader("one", ["mood.found"]), reader("two", ["mood.found"]), listener);
  await using right = await tapped(reader("one", ["mood.found"]), reader("two", ["mood.found"]), listener);
  for (let round = 0; round < 5; round++) {
    await takeScenes(left.context, 8);
    const runs = await claimAll(["one", "two"]);
    const answer = { said: "x", events: [moodFound] };
    const due = await Promise.all(runs.map((run) => ended(left.context, run, { answer })));
    // Each worker has one run about each scene: what the one does in one order, the other does in the other.
    const [ones, twos] = ["one", "two"].map((name) => due.filter(({ run }) => run.pipeline === name));
    await Promise.all([
      commit(left.context, ones ?? []),
      commit(right.context, twos?.toReversed() ?? []),
      renewLeases(database.pool, runs.toReversed(), 60_000),
      renewLeases(database.pool, runs, 60_000),
    ]);
    expect(new Set(await statusesOf(runs))).toEqual(new Set(["success"]));
    expect(await claimAll(["listener"])).toHaveLength(8);
    await emptyLedger(database);
  }
  expect([...left.errors, ...right.errors].filter((code) => code === "40P01")).toEqual([]);
});

import pino from "pino";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { LoregraphError } from "../../src/errors.ts";
import { acceptEntities, removeEntities } from "../../src/intake.ts";
import { failAttempt } from "../../src/ledger/attempt.ts";
import { cancelRun } from "../../src/ledger/cancel.ts";
import { claimRuns } from "../../src/ledger/claim.ts";
import { enqueueRuns } from "../../src/ledger/enqueue.ts";
import { redriveDeadLetters } from "../../src/ledger/redrive.ts";
import { retryRun } from "../../src/ledger/retry.ts";
import type { ClaimedRun } from "../../src/ledger/run.ts";
import { noUsage } from "../../src/pipeline.ts";
import { settleReingests, sweepEnded } from "../../src/reingest/settle.ts";
import { startReingest } from "../../src/reingest/start.ts";
import { cancelReingest } from "../../src/reingest/steer.ts";
import { type NewEntity, upsertEntities } from "../../src/store/entities.ts";
import { createWebhook } from "../../src/store/webhooks.ts";
import { runAttempt } from "../../src/worker/attempt.ts";
import { Stop } from "../../src/worker/ending.ts";
import { Heartbeat } from "../../src/worker/heartbeat.ts";
import { Slots } from "../../src/worker/slots.ts";
import { shared } from "../../src/worker/together.ts";
import { scene } from "../support/content.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { fakeSource } from "../support/fake-source.ts";
import { again, request, stamp, startAttempt } from "../support/ledger.ts";
import { asking } from "../support/pipelines.ts";
import { fillTenant, filters } from "../support/reingests.ts";
import { emptyLedger, forever } from "../support/runtime.ts";
import { dieAtEach, type Procedure, type Process, type World } from "./crash.ts";
import { livelyBase, livelyEcho, livelySteps } from "./lively.ts";
import type { Life } from "./mortal.ts";
import { produce } from "./produce-all.ts";
import { workOff } from "./recover.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});
afterEach(async () => {
  await emptyLedger(database);
  await database.pool.query("truncate reingests cascade");
});

const said = () => ({ said: "so" });
const plain = (life: Life) => [livelyBase(life)];
const quick = (life: Life) => [livelyBase(life), livelyEcho(life, said)];

/** The nth scene, the same in every tenant. */
function sceneAt(n: number, given: Partial<NewEntity> = {}): NewEntity {
  const source_id = `00000000-0000-4000-8000-${String(n).padStart(12, "0")}`;
  return scene({ source_id, title: `Scene ${n}`, text: `Mara lit lamp ${n}.`, ...given });
}

async function takeIn({ pool, context }: Process, tenant_id: string, ...entities: readonly NewEntity[]) {
  await acceptEntities(pool, context.registry, { tenant_id, source: "test", entities });
}

async function claimed(
  { pool, named }: Process,
  pipeline: string,
  { leaseMs = 60_000 } = {},
): Promise<readonly ClaimedRun[]> {
  const pipelines = [named(pipeline)];
  const runs = await claimRuns(pool, { worker: "mortal", pipelines, limit: 100, leaseMs });
  return runs.toSorted((a, b) => (a.source_id < b.source_id ? -1 : 1));
}

/** The runs of a pipeline about the first scenes of a tenant to which somebody subscribes, claimed. */
async function claimedAbout({ healthy, tenant_id }: World, pipeline: string, scenes = 1) {
  const { pool, named } = healthy;
  await createWebhook(pool, tenant_id, { url: "https://example.test/", events: null, description: "" });
  const entities = Array.from({ length: scenes }, (_, n) => sceneAt(n));
  await takeIn(healthy, tenant_id, ...entities);
  const wanted = { pipeline: named(pipeline), tenant_id };
  if (pipeline !== "base")
    await enqueueRuns(
      pool,
      entities.map((entity) => request({ ...wanted, ...keyOf(entity) })),
    );
  return await claimed(healthy, pipeline);
}

function keyOf({ source_type, source_id }: NewEntity) {
  return { source_type, source_id };
}

async function attempt({ context, life }: Process, run: ClaimedRun): Promise<void> {
  await runAttempt(shared(context), run, life.stop);
}

/** The procedure of attempting a run that is claimed already. */
function attemptOf(pipeline: string, pipelines: Procedure["pipelines"] = quick): Procedure {
  return {
    pipelines,
    async prepare(world) {
      const runs = await claimedAbout(world, pipeline);
      return async (process) => await Promise.all(runs.map((run) => attempt(process, run)));
    },
  };
}

/** An enricher that in the process that may die does this, and anywhere else answers. */
function whereTroubled(trouble: (life: Life) => unknown): Procedure["pipelines"] {
  const answer = (life: Life) => (life.troubled ? trouble(life) : said());
  return (life) => [livelyEcho(life, () => answer(life))];
}

function fails(code: "GRAPH_FAILED" | "MODEL_REFUSED" | "RATE_LIMITED"): Procedure["pipelines"] {
  return whereTroubled(() => {
    throw new LoregraphError(code, "no");
  });
}

function stopped(why: Stop["why"]): Procedure["pipelines"] {
  return whereTroubled(({ stop }) => {
    stop.abort(new Stop(why));
    return forever();
  });
}

const claiming: Procedure = {
  pipelines: plain,
  async prepare({ healthy, tenant_id }) {
    await takeIn(healthy, tenant_id, sceneAt(1), sceneAt(2));
    return async (process) => await claimed(process, "base");
  },
};

const endings: Readonly<Record<string, Procedure>> = {
  "an answer of base, with the runs that follow": attemptOf("base"),
  "an answer of base to a text that has changed": {
    pipelines: quick,
    async prepare(world) {
      const { healthy, tenant_id } = world;
      await takeIn(healthy, tenant_id, sceneAt(0));
      await workOff(healthy.context, tenant_id);
      await takeIn(healthy, tenant_id, sceneAt(0, { text: "It went out." }));
      const [run] = await claimed(healthy, "base");
      return async (process) => run && (await attempt(process, run));
    },
  },
  "an answer of an enricher that tells of an event": attemptOf("echo", (life) => [
    livelyEcho(life, () => ({ ...said(), events: [{ event: "mood.found", metadata: { mood: "calm" } }] }), {
      emits: ["mood.found"],
    }),
  ]),
  "an answer that was there already": {
    pipelines: quick,
    async prepare(world) {
      const { healthy, tenant_id } = world;
      await takeIn(healthy, tenant_id, sceneAt(0));
      await workOff(healthy.context, tenant_id);
      const intake = { tenant_id, source: "test", entities: [sceneAt(0)], again: true };
      await acceptEntities(healthy.pool, healthy.context.registry, intake);
      const [run] = await claimed(healthy, "base");
      return async (process) => run && (await attempt(process, run));
    },
  },
  "a failure that is tried again": attemptOf("echo", fails("GRAPH_FAILED")),
  "a failure that costs no attempt": attemptOf("echo", fails("RATE_LIMITED")),
  "a question to a person": attemptOf("echo", () => [asking("Who?")]),
  "a release on a drain": attemptOf("echo", stopped("drained")),
  "a cancel on request": {
    pipelines: stopped("cancelled"),
    async prepare(world) {
      const runs = await claimedAbout(world, "echo");
      for (const { id } of runs) await cancelRun(world.healthy.pool, world.tenant_id, id);
      return async (process) => await Promise.all(runs.map((run) => attempt(process, run)));
    },
  },
  "an entity that has gone": {
    pipelines: quick,
    async prepare(world) {
      const { healthy, tenant_id } = world;
      const runs = await claimedAbout(world, "base");
      await removeEntities(healthy.pool, healthy.context.registry, tenant_id, [sceneAt(0)]);
      return async (process) => await Promise.all(runs.map((run) => attempt(process, run)));
    },
  },
  "an answer beside a failure": {
    pipelines: (life) => [
      livelyEcho(life, ({ source_id }) => {
        if (life.troubled && source_id === sceneAt(1).source_id) throw new Error("no");
        return said();
      }),
    ],
    async prepare(world) {
      const runs = await claimedAbout(world, "echo", 2);
      return async (process) => await Promise.all(runs.map((run) => attempt(process, run)));
    },
  },
  "steps, one of which takes long enough to be saved": attemptOf("echo", (life) => [livelySteps(life)]),
};

/** A worker's look after leases, once over. */
async function beat({ url, context }: Process, held: readonly ClaimedRun[], what: "renew" | "reap") {
  const slots = new Slots(8, () => {});
  const over = Promise.withResolvers<void>();
  for (const run of held) slots.fill(run, () => over.promise);
  const note = { worker: "mortal", pipelines: [], concurrency: 8 };
  const log = pino({ level: "silent" });
  const heartbeat = new Heartbeat({ url, schema: context.schema, log, note, slots, leaseMs: 60_000 });
  const once = new AbortController();
  const done = what === "renew" ? heartbeat.keepRenewing(once.signal) : heartbeat.keepReaping(once.signal);
  once.abort();
  await done;
  await heartbeat.end();
  over.resolve();
}

const leases: Readonly<Record<string, Procedure>> = {
  "a renewal": {
    pipelines: plain,
    async prepare(world) {
      const runs = await claimedAbout(world, "base", 2);
      return async (process) => await beat(process, runs, "renew");
    },
  },
  "a reaping of runs that were not started, started, spent, superseded and to be cancelled": {
    pipelines: plain,
    alone: true,
    async prepare({ healthy, tenant_id }) {
      await takeIn(healthy, tenant_id, ...[0, 1, 2, 3, 4].map((n) => sceneAt(n)));
      const runs = await claimed(healthy, "base", { leaseMs: -1 });
      const [_fresh, started, spent, superseded, cancelled] = runs;
      if (!started || !spent || !superseded || !cancelled) throw new Error("expected five runs");
      for (const run of [started, spent, superseded, cancelled]) await startAttempt(healthy.pool, run, stamp);
      await healthy.pool.query("update pipeline_runs set max_attempts = 1 where id = $1", [spent.id]);
      await enqueueRuns(healthy.pool, [again(superseded)]);
      await cancelRun(healthy.pool, tenant_id, cancelled.id);
      return async (process) => await beat(process, [], "reap");
    },
  },
};

/** Four scenes, every third of which base has read. */
async function fewRead({ healthy, tenant_id }: World): Promise<void> {
  const scenes = [1, 2, 3, 4].map((order) => sceneAt(order, { metadata: { order } }));
  await upsertEntities(healthy.pool, tenant_id, "main-service", scenes);
  await fillTenant(healthy.context, tenant_id, 0, { everyNth: 3 });
}

async function reingestOf({ healthy, tenant_id }: World, given: Parameters<typeof filters>[0] = {}) {
  const asked = filters({ batch_size: 2, pipelines: [healthy.named("base")], ...given });
  return (await startReingest(healthy.context, tenant_id, asked)).reingest;
}

const elsewhere = fakeSource([
  sceneAt(1, { text: "Another text." }),
  sceneAt(3, { metadata: { order: 3 } }),
  sceneAt(7),
]);

const reingests: Readonly<Record<string, Procedure>> = {
  "the start of one": {
    pipelines: plain,
    again: true,
    async prepare(world) {
      await fewRead(world);
      const asked = filters({ batch_size: 2, pipelines: [world.healthy.named("base")] });
      return async ({ context }) => await startReingest(context, world.tenant_id, asked, { key: "once" });
    },
  },
  "the pages of one": {
    pipelines: plain,
    async prepare(world) {
      await fewRead(world);
      const reingest = await reingestOf(world);
      return async ({ context }) => await produce(context, reingest);
    },
  },
  "the pages of one that another service lists": {
    pipelines: plain,
    source: elsewhere,
    async prepare(world) {
      await fewRead(world);
      const reingest = await reingestOf(world, { source: "main-service" });
      return async ({ context }) => await produce(context, reingest, elsewhere);
    },
  },
  "an attempt at a run of one": {
    pipelines: plain,
    async prepare(world) {
      await fewRead(world);
      await produce(world.healthy.context, await reingestOf(world));
      const [run] = await claimed(world.healthy, "base");
      return async (process) => run && (await attempt(process, run));
    },
  },
  "the end of one": {
    pipelines: plain,
    alone: true,
    async prepare(world) {
      const reingest = await reingestOf(world);
      await produce(world.healthy.context, reingest);
      return async ({ context }) => await settleReingests(context);
    },
  },
  "the sweeping of one that was cancelled": {
    pipelines: plain,
    alone: true,
    async prepare(world) {
      await fewRead(world);
      const reingest = await reingestOf(world);
      await produce(world.healthy.context, reingest);
      await world.healthy.pool.query(
        "update reingests set status = 'cancelled', finished_at = now() where id = $1",
        [reingest.id],
      );
      return async ({ pool }) => await sweepEnded(pool);
    },
  },
  "the cancelling of one": {
    pipelines: plain,
    again: true,
    async prepare(world) {
      await fewRead(world);
      const reingest = await reingestOf(world);
      await produce(world.healthy.context, reingest);
      return async ({ context }) => await unlessDone(cancelReingest(context, reingest));
    },
  },
};

/** Whoever asks again for what is done already is told so. */
async function unlessDone(asked: Promise<unknown>): Promise<void> {
  try {
    await asked;
  } catch (error) {
    if (!(error instanceof LoregraphError && error.code === "STATE_TRANSITION")) throw error;
  }
}

/** Two dead letters of one tenant. */
async function deadLetters({ healthy, tenant_id }: World): Promise<readonly ClaimedRun[]> {
  await takeIn(healthy, tenant_id, sceneAt(0), sceneAt(1));
  const runs = await claimed(healthy, "base");
  const failure = { code: "GRAPH_FAILED", message: "no", retryInMs: null, counts: true, usage: noUsage };
  for (const run of runs) await failAttempt(healthy.pool, run, failure);
  return runs;
}

const asked: Readonly<Record<string, Procedure>> = {
  "taking entities in that are new, changed and the same": {
    pipelines: plain,
    again: true,
    async prepare({ healthy, tenant_id }) {
      await takeIn(healthy, tenant_id, sceneAt(0), sceneAt(1));
      const entities = [sceneAt(0), sceneAt(1, { text: "It went out." }), sceneAt(2)];
      return async (process) => await takeIn(process, tenant_id, ...entities);
    },
  },
  "taking entities out": {
    pipelines: plain,
    again: true,
    async prepare({ healthy, tenant_id }) {
      await takeIn(healthy, tenant_id, sceneAt(0), sceneAt(1));
      await workOff(healthy.context, tenant_id);
      await takeIn(healthy, tenant_id, sceneAt(1, { text: "It went out." }));
      const keys = [sceneAt(0), sceneAt(1)];
      return async ({ pool, context }) => await removeEntities(pool, context.registry, tenant_id, keys);
    },
  },
  "redriving dead letters": {
    pipelines: plain,
    again: true,
    async prepare(world) {
      await deadLetters(world);
      return async ({ pool }) => await redriveDeadLetters(pool, { tenant_id: world.tenant_id });
    },
  },
  "retrying a dead letter": {
    pipelines: plain,
    again: true,
    async prepare(world) {
      const [run] = await deadLetters(world);
      return async ({ pool }) => run && (await unlessDone(retryRun(pool, world.tenant_id, run.id)));
    },
  },
  "cancelling a run": {
    pipelines: plain,
    again: true,
    async prepare({ healthy, tenant_id }) {
      const wanted = { ...request({ pipeline: healthy.named("base"), tenant_id }), ...sceneAt(0) };
      const [run] = await enqueueRuns(healthy.pool, [wanted]);
      return async ({ pool }) => run && (await unlessDone(cancelRun(pool, tenant_id, run.id)));
    },
  },
};

describe("whoever dies at any statement leaves in the end what an undisturbed one leaves", () => {
  test.each(
    Object.entries({
      "a claim": claiming,
      ...prefixed("the attempt that ends with", endings),
      ...prefixed("of leases,", leases),
      ...prefixed("of reingests,", reingests),
      ...prefixed("of what is asked for,", asked),
    }),
  )("%s", { timeout: 120_000 }, async (name, procedure) => {
    const { sent, deaths } = await dieAtEach(database, procedure);

    expect(sent.length).toBeGreaterThan(0);
    expect(deaths).toBeGreaterThan(0);
    console.info(`${name}: ${sent.length} statements, ${deaths} deaths`);
  });
});

function prefixed(prefix: string, procedures: Readonly<Record<string, Procedure>>) {
  return Object.fromEntries(Object.entries(procedures).map(([name, it]) => [`${prefix} ${name}`, it]));
}

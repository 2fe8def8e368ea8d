import { randomUUID } from "node:crypto";
import fc from "fast-check";
import { beforeAll, expect, test } from "vitest";
import { LoregraphError } from "../../src/errors.ts";
import { endCancelled, failAttempt, parkRun, startAttempt, succeedRun } from "../../src/ledger/attempt.ts";
import { cancelRun } from "../../src/ledger/cancel.ts";
import { enqueueRuns } from "../../src/ledger/enqueue.ts";
import { renewLeases } from "../../src/ledger/lease.ts";
import { listRuns } from "../../src/ledger/read.ts";
import { reapExpired } from "../../src/ledger/reap.ts";
import { redriveDeadLetters } from "../../src/ledger/redrive.ts";
import { releaseRuns } from "../../src/ledger/release.ts";
import type { ClaimedRun, RunRequest } from "../../src/ledger/run.ts";
import type { Status } from "../../src/ledger/states.ts";
import { noUsage } from "../../src/pipeline.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { claim, newPipeline, request, stamp } from "../support/ledger.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});

/** A run as the reference model sees it: what the ledger promises, without how it keeps it. */
type ModelRun = {
  readonly key: number;
  version: number;
  status: Status;
  attempt: number;
  started: boolean;
  /** Which of all endings was its own, where it has ended. */
  ended: number;
  cancelAsked: boolean;
  due: boolean;
  token: string | undefined;
};

type Model = { readonly runs: Map<string, ModelRun>; readonly leases: ClaimedRun[] };

const maxAttempts = 2;

/** What the worker of a lease does next, on the model. The real deed is beside it under the same name. */
const ends = [
  "start",
  "succeed",
  "retry",
  "retry later",
  "give up",
  "rate limit",
  "release",
  "park",
  "cancel",
] as const;
type End = (typeof ends)[number];

const action = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("enqueue" as const),
      key: fc.nat(1),
      version: fc.integer({ min: 1, max: 4 }),
    }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant("claim" as const) }) },
  {
    weight: 8,
    arbitrary: fc.record({ do: fc.constant("end" as const), how: fc.constantFrom(...ends), nth: fc.nat(3) }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("crash" as const), nth: fc.nat(2) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("ask to cancel" as const), nth: fc.nat(4) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("redrive" as const) }) },
);
type Action = typeof action extends fc.Arbitrary<infer T> ? T : never;

test("the ledger does what a small model of it does, whatever is asked in whatever order", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(action, { minLength: 10, maxLength: 40 }), async (actions) => {
      const ledger = newLedger();
      const model: Model = { runs: new Map(), leases: [] };
      for (const step of actions) {
        await take(step, ledger, model);
        expect(await rowsOf(ledger)).toEqual(rowsOfModel(model));
      }
    }),
    { numRuns: 40 },
  );
});

type Ledger = { readonly pipeline: string; readonly keys: readonly RunRequest[] };

function newLedger(): Ledger {
  const pipeline = newPipeline();
  const given = { pipeline, tenant_id: randomUUID(), max_attempts: maxAttempts };
  return { pipeline, keys: [request(given), request(given)] };
}

async function take(step: Action, ledger: Ledger, model: Model): Promise<void> {
  switch (step.do) {
    case "enqueue":
      return await enqueue(step, ledger, model);
    case "claim":
      return await claimAll(ledger, model);
    case "end":
      return await endOne(step, model);
    case "crash":
      return await crash(step.nth, model);
    case "ask to cancel":
      return await askToCancel(step.nth, ledger, model);
    case "redrive":
      return await redrive(ledger, model);
  }
}

async function enqueue(
  step: { key: number; version: number },
  { keys }: Ledger,
  model: Model,
): Promise<void> {
  const key = keys[step.key] ?? request({ pipeline: "none" });
  const [enqueued] = await enqueueRuns(database.pool, [{ ...key, source_version: step.version }]);
  const pending = pendingOf(model, step.key);
  expect(enqueued?.is_new).toBe(pending === undefined);
  if (!pending) return void model.runs.set(enqueued?.id ?? "", fresh(step.key, step.version));
  if (step.version > pending.version)
    Object.assign(pending, { version: step.version, attempt: 0, due: true });
}

function fresh(key: number, version: number): ModelRun {
  return {
    key,
    version,
    status: "pending",
    attempt: 0,
    started: false,
    ended: 0,
    cancelAsked: false,
    due: true,
    token: undefined,
  };
}

async function claimAll({ pipeline }: Ledger, { runs, leases }: Model): Promise<void> {
  const claims = await claim(database.pool, pipeline);
  const busy = new Set([...runs.values()].filter(({ status }) => status === "running").map(({ key }) => key));
  const expected = [...runs].filter(([, run]) => run.status === "pending" && run.due && !busy.has(run.key));
  expect(claims.map(({ id }) => id).sort()).toEqual(expected.map(([id]) => id).sort());
  for (const lease of claims) {
    Object.assign(runs.get(lease.id) ?? {}, { status: "running", token: lease.lease_token });
    leases.push(lease);
  }
}

/** Of the newest leases, one acts; that it may have lost its run is part of the game. */
async function endOne({ how, nth }: { how: End; nth: number }, { runs, leases }: Model): Promise<void> {
  const lease = leases.at(-1 - nth);
  const run = lease && runs.get(lease.id);
  if (!lease || !run) return;
  const holds = run.status === "running" && run.token === lease.lease_token;
  if (holds && how === "start" && run.started) return;
  expect((await renewLeases(database.pool, [lease], 60_000)).length).toBe(holds ? 1 : 0);
  const lost = await lostLease(() => act(how, lease));
  expect(lost).toBe(!holds && how !== "release");
  if (holds) endInModel(how, run, pendingOf({ runs, leases }, run.key) !== undefined);
}

async function act(how: End, lease: ClaimedRun): Promise<unknown> {
  const db = database.pool;
  switch (how) {
    case "start":
      return await startAttempt(db, lease, stamp);
    case "succeed":
      return await succeedRun(db, lease, { outcome: "completed", stamp, usage: noUsage });
    case "retry":
      return await failAttempt(db, lease, failure({ retryInMs: 0 }));
    case "retry later":
      return await failAttempt(db, lease, failure({ retryInMs: 3_600_000 }));
    case "give up":
      return await failAttempt(db, lease, failure({ retryInMs: null }));
    case "rate limit":
      return await failAttempt(db, lease, failure({ retryInMs: 0, counts: false }));
    case "release":
      return await releaseRuns(db, [lease]);
    case "park":
      return await parkRun(db, lease, "who?", noUsage);
    case "cancel":
      return await endCancelled(db, lease, "because", noUsage);
  }
}

function failure(given: { retryInMs: number | null; counts?: boolean }) {
  return { code: "GRAPH_FAILED", message: "no", counts: true, usage: noUsage, ...given };
}

async function lostLease(deed: () => Promise<unknown>): Promise<boolean> {
  try {
    await deed();
    return false;
  } catch (error) {
    if (error instanceof LoregraphError && error.code === "LEASE_LOST") return true;
    throw error;
  }
}

function endInModel(how: End, run: ModelRun, superseded: boolean): void {
  const nth = run.attempt + (run.started ? 0 : 1);
  if (how === "start") {
    Object.assign(run, { attempt: nth, started: true });
    return;
  }
  const spent = nth >= maxAttempts;
  const endings: Readonly<Record<Exclude<End, "start">, readonly [Status, number]>> = {
    succeed: ["success", run.attempt],
    cancel: ["cancelled", run.attempt],
    park: [run.cancelAsked ? "cancelled" : "waiting", run.attempt],
    release: [givenUp(run, false, superseded), nth - 1],
    "rate limit": [givenUp(run, false, superseded), nth - 1],
    "give up": [givenUp(run, true, superseded), nth],
    retry: [givenUp(run, spent, superseded), nth],
    "retry later": [givenUp(run, spent, superseded), nth],
  };
  leave(run, ...endings[how]);
  run.due = how !== "retry later" || run.status !== "pending";
}

function givenUp({ cancelAsked }: ModelRun, spent: boolean, superseded: boolean): Status {
  if (cancelAsked) return "cancelled";
  if (spent) return "failed";
  return superseded ? "cancelled" : "pending";
}

/** Counts what has ended, or left its attempt, in order. */
let clock = 0;

function leave(run: ModelRun, status: Status, attempt: number): void {
  clock += 1;
  Object.assign(run, {
    status,
    attempt,
    ended: clock,
    started: false,
    cancelAsked: false,
    token: undefined,
    due: true,
  });
}

/** A worker dies: its lease expires, and somebody reaps. */
async function crash(nth: number, model: Model): Promise<void> {
  const running = [...model.runs].filter(([, { status }]) => status === "running");
  const [id, run] = running[nth] ?? [];
  if (!id || !run) return;
  await database.pool.query(
    "update pipeline_runs set lease_expires_at = now() - interval '1 second' where id = $1",
    [id],
  );
  const superseded = pendingOf(model, run.key) !== undefined;
  leave(run, givenUp(run, run.started && run.attempt >= maxAttempts, superseded), run.attempt);
  expect(await reapExpired(database.pool)).toEqual([{ id, status: run.status }]);
}

async function askToCancel(nth: number, { keys }: Ledger, { runs }: Model): Promise<void> {
  const [id, run] = [...runs][nth] ?? [];
  if (!id || !run) return;
  const asked = cancelRun(database.pool, keys[0]?.tenant_id ?? "", id);
  if (run.status === "running") {
    expect(await asked).toBe("running");
    run.cancelAsked = true;
  } else if (run.status === "pending" || run.status === "waiting") {
    expect(await asked).toBe("cancelled");
    leave(run, "cancelled", run.attempt);
  } else {
    await expect(asked).rejects.toMatchObject({ code: "STATE_TRANSITION" });
  }
}

async function redrive({ pipeline }: Ledger, model: Model): Promise<void> {
  const redriven = await redriveDeadLetters(database.pool, { pipeline });
  const dead = [0, 1].flatMap((key) => {
    const newest = [...model.runs]
      .sort(([a], [b]) => (a < b ? 1 : -1))
      .find(([, run]) => run.key === key && run.status === "failed" && !isHealed(run, model));
    return newest && !pendingOf(model, key) ? [newest[1]] : [];
  });
  expect(redriven).toBe(dead.length);
  for (const run of dead) leave(run, "pending", 0);
}

function isHealed(dead: ModelRun, { runs }: Model): boolean {
  return [...runs.values()].some(
    (run) => run.key === dead.key && run.status === "success" && run.ended > dead.ended,
  );
}

function pendingOf({ runs }: Model, key: number): ModelRun | undefined {
  return [...runs.values()].find((run) => run.key === key && run.status === "pending");
}

async function rowsOf({ pipeline, keys }: Ledger) {
  const runs = await listRuns(database.pool, { pipeline, limit: 1_000 });
  return runs
    .map(({ id, source_id, source_version, status, attempt }) => ({
      id,
      key: keys.findIndex((key) => key.source_id === source_id),
      version: source_version,
      status,
      attempt,
    }))
    .sort(byId);
}

function rowsOfModel({ runs }: Model) {
  return [...runs]
    .map(([id, { key, version, status, attempt }]) => ({ id, key, version, status, attempt }))
    .sort(byId);
}

function byId(a: { id: string }, b: { id: string }): number {
  return a.id < b.id ? -1 : 1;
}

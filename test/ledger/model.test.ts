import { randomUUID } from "node:crypto";
import fc from "fast-check";
import { beforeAll, expect, test } from "vitest";
import { contendedTransaction, openPool, type Pool, transaction } from "../../src/db.ts";
import { LoregraphError } from "../../src/errors.ts";
import { answerRun } from "../../src/ledger/answer.ts";
import { endCancelled, failAttempt, succeedRun } from "../../src/ledger/attempt.ts";
import { cancelRun, cancelRunsOf } from "../../src/ledger/cancel.ts";
import {
  capPipeline,
  changeTenant,
  pausePipeline,
  pauseTenant,
  resumePipeline,
  resumeTenant,
} from "../../src/ledger/controls.ts";
import { enqueueRuns } from "../../src/ledger/enqueue.ts";
import { renewLeases } from "../../src/ledger/lease.ts";
import { reapExpired } from "../../src/ledger/reap.ts";
import { redriveDeadLetters } from "../../src/ledger/redrive.ts";
import { releaseRuns } from "../../src/ledger/release.ts";
import { retryRun } from "../../src/ledger/retry.ts";
import type { ClaimedRun } from "../../src/ledger/run.ts";
import { noUsage } from "../../src/pipeline.ts";
import type { Reingest } from "../../src/reingest/reingest.ts";
import { pauseReingest, resumeReingest } from "../../src/reingest/steer.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { claim, newPipeline, parkRun, request, stamp, startAttempt } from "../support/ledger.ts";
import { newReingest } from "../support/reingests.ts";
import * as model from "./model.ts";

// A failure prints its seed and its path. To replay it, and to have it made smaller, which takes its time:
// MODEL_SEED=<seed> MODEL_PATH=<path> npx vitest run test/ledger/model.test.ts
// What happens at once is then asked at once again, but Postgres may take it in another order.

let database: TestDatabase;
/** Those of three workers, each with connections of its own. */
let pools: readonly Pool[];
beforeAll(async () => {
  database = await testDatabase();
  pools = [0, 1, 2].map(() => openPool(database.url, { max: 3 }));
  return async () => {
    for (const pool of pools) await pool.end();
  };
});

/** What the ledger is asked to do, and by whom. Runs and leases are named by how long ago they came up. */
const step = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      do: fc.constant("enqueue" as const),
      key: fc.nat(5),
      version: fc.integer({ min: 1, max: 4 }),
      priority: fc.constantFrom(-5, 0, 5),
      bulk: fc.boolean(),
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant("claim" as const),
      limit: fc.integer({ min: 1, max: 5 }),
      bulk: fc.integer({ min: 0, max: 5 }),
    }),
  },
  {
    weight: 16,
    arbitrary: fc.record({
      do: fc.constant("end" as const),
      how: fc.constantFrom(...model.ends),
      nth: fc.nat(7),
    }),
  },
  { weight: 6, arbitrary: fc.record({ do: fc.constant("expire" as const), nth: fc.nat(2) }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant("reap" as const) }) },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constantFrom("cancel" as const, "retry" as const, "answer" as const),
      nth: fc.nat(5),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("forget" as const), key: fc.nat(5) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("redrive" as const), pipeline: fc.nat(1) }) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("steer" as const),
      what: fc.constantFrom("tenants" as const, "pipelines" as const, "reingests" as const),
      nth: fc.nat(1),
      paused: fc.constantFrom(true, false, false),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant("bound" as const),
      what: fc.constantFrom("tenants" as const, "pipelines" as const),
      nth: fc.nat(1),
      cap: fc.constantFrom(null, null, 0, 1, 1, 2),
      weight: fc.constantFrom(1, 2, 4),
    }),
  },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** One step, or two or three that are taken at once, each by a worker of its own. */
const moment = fc.oneof(
  { weight: 4, arbitrary: fc.tuple(step) },
  { weight: 1, arbitrary: fc.array(step, { minLength: 2, maxLength: 3 }) },
  // The same twice at once, as where an answer was lost and is asked for again.
  { weight: 1, arbitrary: step.map((it): Step[] => [it, it]) },
);

const { MODEL_SEED, MODEL_PATH } = process.env;
const replay = MODEL_SEED
  ? { seed: Number(MODEL_SEED), ...(MODEL_PATH && { path: MODEL_PATH }) }
  : { endOnFailure: true };

test("the ledger does what a plain model of it does, whatever several workers ask of it in whatever order", {
  timeout: MODEL_SEED ? 0 : 120_000,
}, async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(moment, { minLength: 20, maxLength: 60 }), async (moments) => {
      const ledger = await newLedger();
      for (const steps of moments) await live(ledger, steps);
    }),
    { numRuns: 30, ...replay },
  );
});

type Ledger = {
  readonly tenants: readonly string[];
  readonly pipelines: readonly string[];
  readonly reingests: readonly Reingest[];
  readonly keys: readonly ReturnType<typeof request>[];
  /** Every lease that ever was, the newest last: most of their holders are zombies. */
  readonly leases: ClaimedRun[];
  readonly runs: string[];
  now: model.Model;
};

/** Two tenants, each with two pipelines; each key is of an entity of its own. */
async function newLedger(): Promise<Ledger> {
  const [tenants, pipelines] = [
    [randomUUID(), randomUUID()],
    [newPipeline(), newPipeline()],
  ];
  const lanes = tenants.flatMap((tenant) => pipelines.map((pipeline) => ({ tenant, pipeline })));
  const named = [...lanes, ...lanes.slice(0, 2)];
  return {
    tenants,
    pipelines,
    reingests: await Promise.all(tenants.map((tenant_id) => newReingest(database.pool, { tenant_id }))),
    keys: named.map(({ tenant, pipeline }) =>
      request({ tenant_id: tenant, pipeline, max_attempts: model.maxAttempts }),
    ),
    leases: [],
    runs: [],
    now: model.newModel(named),
  };
}

/** What came of a step, as the model is told of it. */
type Explanation = (of: model.Model) => void;

/**
 * Takes steps at once. There must be an order in which the model explains what came of each, and in which it is left
 * with the rows that the ledger is left with.
 */
async function live(ledger: Ledger, steps: readonly Step[]): Promise<void> {
  const crowded = steps.length > 1;
  const pool = (n: number) => pools[n] ?? database.pool;
  const seen = { ...ledger, leases: [...ledger.leases], runs: [...ledger.runs] };
  const taken = await Promise.all(steps.map((it, n) => take(it, seen, { pool: pool(n), crowded })));
  const came = taken.filter((explanation) => explanation !== undefined);
  const rows = await rowsOf(ledger);
  ledger.now = explainedBy(ledger.now, came, rows);
  ledger.runs.push(...Object.keys(ledger.now.runs).filter((id) => !ledger.runs.includes(id)));
  for (const claims of taken.flatMap((explanation) => explanation?.claims ?? [])) ledger.leases.push(claims);
  assertInvariants(rows);
}

function explainedBy(before: model.Model, came: readonly Explanation[], rows: Rows): model.Model {
  const failures: unknown[] = [];
  for (const order of ordersOf(came)) {
    try {
      const after = structuredClone(before);
      for (const explain of order) explain(after);
      expect(rows).toEqual(rowsOfModel(after));
      return after;
    } catch (error) {
      failures.push(error);
    }
  }
  throw failures.length === 1
    ? failures[0]
    : new AggregateError(failures, `no order explains it: ${failures.join("; ")}`);
}

function ordersOf<Value>(values: readonly Value[]): readonly (readonly Value[])[] {
  if (values.length < 2) return [values];
  return values.flatMap((first, n) => ordersOf(values.toSpliced(n, 1)).map((rest) => [first, ...rest]));
}

type Taking = { readonly pool: Pool; readonly crowded: boolean };
type Taken = Explanation & { readonly claims?: readonly ClaimedRun[] };

/** @returns how the model is to explain what came of it, or undefined where there was nothing to do it to. */
async function take(it: Step, ledger: Ledger, { pool, crowded }: Taking): Promise<Taken | undefined> {
  switch (it.do) {
    case "enqueue":
      return await enqueue(it, ledger, pool);
    case "claim": {
      const { limit, bulk } = it;
      const claims = await claim(pool, "", {
        pipelines: ledger.pipelines,
        limit,
        bulk: Math.min(bulk, limit),
      });
      const asked = { limit, bulk: Math.min(bulk, limit), crowded };
      return Object.assign((now: model.Model) => model.claim(now, asked, claims), { claims });
    }
    case "end":
      return await endOne(it, ledger, { pool, crowded });
    case "expire":
      return await expire(it.nth, ledger, pool);
    case "reap": {
      const reaped = (await insisting(() => reapExpired(pool))).filter(({ id }) => ledger.runs.includes(id));
      return (now) => model.reap(now, reaped, crowded);
    }
    case "forget": {
      const key = ledger.keys[it.key];
      if (!key) return;
      const cancelled = await contendedTransaction(pool, (db) => cancelRunsOf(db, key.tenant_id, [key]));
      return (now) => model.cancelEntity(now, it.key, cancelled);
    }
    case "redrive": {
      const pipeline = ledger.pipelines[it.pipeline] ?? "";
      const redriven = await redriveDeadLetters(pool, { pipeline });
      return (now) => model.redrive(now, pipeline, redriven);
    }
    case "cancel":
    case "retry":
    case "answer":
      return await steerRun(it, ledger, pool);
    case "steer":
      return await steer(it, ledger, pool);
    case "bound":
      return await bound(it, ledger, pool);
  }
}

async function enqueue(
  wanted: model.Wanted,
  { keys, reingests }: Ledger,
  pool: Pool,
): Promise<Taken | undefined> {
  const key = keys[wanted.key];
  const reingest = reingests.find(({ tenant_id }) => tenant_id === key?.tenant_id);
  if (!key || !reingest) return;
  const { version, priority, bulk } = wanted;
  const asked = { ...key, source_version: version, priority, ...(bulk && { reingest_id: reingest.id }) };
  const [enqueued] = await insisting(() => enqueueRuns(pool, [asked]));
  if (!enqueued) throw new Error("nothing was enqueued");
  const { key: nth } = wanted;
  return (now) => model.enqueue(now, { key: nth, version, priority, bulk }, enqueued);
}

/** Of the newest leases, one acts; that it may have lost its run is part of the game. Nobody starts a graph twice. */
async function endOne(
  { how, nth }: { how: model.End; nth: number },
  { leases, now }: Ledger,
  { pool, crowded }: Taking,
): Promise<Taken | undefined> {
  const lease = leases.at(-1 - nth);
  if (!lease || (how === "start" && (crowded || now.runs[lease.id]?.started))) return;
  const refused = await insisting(() => isRefused(() => act(how, lease, pool)));
  return (after) => model.end(after, how, lease, refused);
}

/** @returns how many leases were honoured, where it throws nothing for one that is not. */
async function act(how: model.End, lease: ClaimedRun, db: Pool): Promise<unknown> {
  switch (how) {
    case "renew":
      return (await renewLeases(db, [lease], 60_000)).length;
    case "start":
      return await startAttempt(db, lease, stamp);
    case "succeed":
      return await succeedRun(db, lease, { outcome: "completed", stamp, usage: noUsage });
    case "retry":
      return void (await failAttempt(db, lease, failure({ retryInMs: 0 })));
    case "retry later":
      return void (await failAttempt(db, lease, failure({ retryInMs: 3_600_000 })));
    case "give up":
      return void (await failAttempt(db, lease, failure({ retryInMs: null })));
    case "rate limit":
      return void (await failAttempt(db, lease, failure({ retryInMs: 0, counts: false })));
    case "release":
      return await releaseRuns(db, [lease]);
    case "park":
      return await transaction(db, (inOne) => parkRun(inOne, lease, "who?", noUsage));
    case "cancel":
      return await endCancelled(db, lease, "because", noUsage);
  }
}

function failure(given: { retryInMs: number | null; counts?: boolean }) {
  return { code: "GRAPH_FAILED", message: "no", counts: true, usage: noUsage, ...given };
}

async function isRefused(deed: () => Promise<unknown>): Promise<boolean> {
  try {
    return (await deed()) === 0;
  } catch (error) {
    if (error instanceof LoregraphError && error.code === "LEASE_LOST") return true;
    throw error;
  }
}

/** Two that meet on one key make way for each other, as the worker's commit and every enqueueing do. */
async function insisting<Result>(work: () => Promise<Result>): Promise<Result> {
  for (let tries = 1; ; tries++) {
    try {
      return await work();
    } catch (error) {
      const code = error instanceof Error && "code" in error ? error.code : undefined;
      if (tries === 5 || (code !== "23505" && code !== "40P01")) throw error;
    }
  }
}

async function expire(nth: number, { leases }: Ledger, pool: Pool): Promise<Taken | undefined> {
  const lease = leases.at(-1 - nth);
  if (!lease) return;
  await pool.query(
    "update pipeline_runs set lease_expires_at = now() - interval '1 second' where id = $1 and lease_token = $2",
    [lease.id, lease.lease_token],
  );
  return (now) => model.expire(now, lease);
}

async function steerRun(
  it: { do: "cancel" | "retry" | "answer"; nth: number },
  { runs, now, keys }: Ledger,
  pool: Pool,
): Promise<Taken | undefined> {
  const id = runs.at(-1 - it.nth);
  const tenant_id = id && keys[now.runs[id]?.key ?? -1]?.tenant_id;
  if (!id || !tenant_id) return;
  const deeds = {
    cancel: () => cancelRun(pool, tenant_id, id),
    retry: async () => {
      await retryRun(pool, tenant_id, id);
      return "pending" as const;
    },
    answer: async () =>
      (await answerRun(pool, { tenant_id, id }, { kind: "one", answer: "she" }, "tester")).status,
  };
  const told = await answerOf(deeds[it.do]());
  const explain = { cancel: model.cancelRun, retry: model.retry, answer: model.answer }[it.do];
  return (after) => explain(after, id, told);
}

async function answerOf(asked: Promise<model.Answer>): Promise<model.Answer> {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof LoregraphError && error.code === "STATE_TRANSITION") return error.code;
    throw error;
  }
}

type Steering = { what: "tenants" | "pipelines" | "reingests"; nth: number; paused: boolean };

async function steer(
  { what, nth, paused }: Steering,
  ledger: Ledger,
  pool: Pool,
): Promise<Taken | undefined> {
  const { tenants, pipelines, reingests } = ledger;
  const [tenant, pipeline, reingest] = [tenants[nth], pipelines[nth], reingests[nth]];
  if (!tenant || !pipeline || !reingest) return;
  if (what === "tenants") {
    await (paused ? pauseTenant : resumeTenant)(pool, tenant);
    return (now) => void Object.assign(now.tenants[tenant] ?? {}, { paused });
  }
  if (what === "pipelines") {
    await (paused ? pausePipeline : resumePipeline)(pool, pipeline);
    return (now) => void Object.assign(now.pipelines[pipeline] ?? {}, { paused });
  }
  const context = { pool, registry: new Map() };
  const asked = (paused ? pauseReingest : resumeReingest)(context, reingest).then(() => "pending" as const);
  const answer = await answerOf(asked);
  return (now) => {
    model.explained(
      (answer === "pending") === (now.reingests[tenant] !== paused),
      `a reingest was ${answer}`,
    );
    now.reingests[tenant] = paused;
  };
}

type Bounds = { what: "tenants" | "pipelines"; nth: number; cap: number | null; weight: number };

async function bound(
  { what, nth, cap, weight }: Bounds,
  ledger: Ledger,
  pool: Pool,
): Promise<Taken | undefined> {
  const [tenant, pipeline] = [ledger.tenants[nth], ledger.pipelines[nth]];
  if (!tenant || !pipeline) return;
  if (what === "tenants") {
    await changeTenant(pool, tenant, { max_running: cap, weight });
    return (now) => void Object.assign(now.tenants[tenant] ?? {}, { cap, weight });
  }
  await capPipeline(pool, pipeline, cap);
  return (now) => void Object.assign(now.pipelines[pipeline] ?? {}, { cap });
}

type Row = Pick<model.ModelRun, "key" | "version" | "priority" | "bulk" | "status" | "attempt" | "token"> & {
  readonly id: string;
  readonly started: boolean;
  readonly cancelAsked: boolean;
};
type Rows = readonly Row[];

async function rowsOf({ keys, tenants }: Ledger): Promise<Rows> {
  const { rows } = await database.pool.query(
    `select id, source_id, source_version as version, priority, reingest_id is not null as bulk, status, attempt,
       lease_token as token, graph_started_at is not null as started, cancel_requested_at is not null as "cancelAsked"
     from pipeline_runs where tenant_id = any ($1) order by id`,
    [tenants],
  );
  return rows.map(({ source_id, ...row }) => ({
    ...row,
    key: keys.findIndex((key) => key.source_id === source_id),
  }));
}

function rowsOfModel({ runs }: model.Model): Rows {
  return Object.entries(runs)
    .map(([id, { due: _, expired: __, ended: ___, ...row }]) => ({ ...row, id }))
    .sort((a, b) => (a.id < b.id ? -1 : 1));
}

/** What holds whatever the model says. */
function assertInvariants(rows: Rows): void {
  for (const status of ["pending", "running", "waiting"] as const) {
    const keys = rows.filter((row) => row.status === status).map(({ key }) => key);
    expect(new Set(keys).size, `at most one ${status} run of a key`).toBe(keys.length);
  }
  for (const { status, token, attempt } of rows) {
    expect(token !== null, "whoever runs holds a lease, and nobody else").toBe(status === "running");
    expect(attempt).toBeLessThanOrEqual(model.maxAttempts);
  }
}

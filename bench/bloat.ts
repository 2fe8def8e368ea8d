import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import type { PgBoss } from "pg-boss";
import type { Pool } from "../src/db.ts";
import { Worker } from "../src/worker/worker.ts";
import { contextOf } from "./context.ts";
import { type BenchOptions, machine, withDatabase } from "./support.ts";
import { enqueueNothing, nothing, pipeline } from "./tenants/loregraph.ts";
import { addJobs, queue, startBoss } from "./tenants/pg-boss.ts";

const [rate, tenants] = [300, Array.from({ length: 9 }, () => randomUUID())];
const edgeMs = 30_000;

/** What an old snapshot costs: jobs at a constant rate, while another session keeps all that they leave behind. */
export async function bench({ minutes = 5, only }: BenchOptions) {
  const asked = (part: string) => only === undefined || only.split(",").includes(part);
  const measured: Record<string, unknown> = {};
  let server = "";
  for (const [name, run] of Object.entries({ loregraph, "pg-boss 12.35.0": boss })) {
    if (!asked(name.split(" ")[0] ?? "")) continue;
    measured[name] = await withDatabase(async ({ pool, url, postgres }) => {
      server = postgres;
      return await run(pool, url, minutes * 60_000);
    });
  }
  return {
    bench: "bloat",
    what: `${rate} jobs a second of ${tenants.length} tenants for ${minutes} minutes, a page each 100 ms, while another session holds a snapshot from before; the first and the last ${Math.min(edgeMs, minutes * 30_000) / 1_000} s`,
    machine: machine(),
    postgres: server,
    settings: {
      loregraph: "one worker of 50 slots, runs ended in groups; a claim's own commit waits for no disk",
      "pg-boss 12.35.0": "two loops of fetch (batchSize 50) and complete of the batch",
    },
    ...measured,
  };
}

type Noted = { readonly at: number; readonly ms: number };

/** What happened, and when: the jobs that ended, and how long each claim of at least one took. */
class Notes {
  readonly ends: number[] = [];
  readonly claims: Noted[] = [];
}

async function loregraph(pool: Pool, url: string, ms: number) {
  const notes = new Notes();
  const context = contextOf(timingClaims(pool, notes));
  const options = { url, pipelines: [pipeline], concurrency: 50, attempt: nothing(pool, 0, () => {}) };
  const worker = new Worker(context, { ...options, onEnded: () => void notes.ends.push(performance.now()) });
  const make = (tenant: string, count: number) => enqueueNothing(pool, tenant, count);
  return await underOldSnapshot(url, ms, notes, make, async () => {
    worker.start();
    return () => worker.stop();
  });
}

/** A pool that notes how long each transaction with a claim took, from the wait for a connection to its commit. */
function timingClaims(pool: Pool, notes: Notes): Pool {
  const connect = async () => {
    const began = performance.now();
    const client = await pool.connect();
    let claimed = 0;
    const query = async (...given: Parameters<typeof client.query>) => {
      const result: unknown = await client.query(...given);
      const [statement] = given as readonly unknown[];
      if (isClaim(statement)) claimed += (result as unknown as pg.QueryResult).rowCount ?? 0;
      return result;
    };
    const release = (broken?: Error) => {
      client.release(broken);
      const at = performance.now();
      if (claimed > 0) notes.claims.push({ at, ms: at - began });
    };
    return { query, release };
  };
  return Object.create(pool, { connect: { value: connect }, query: { value: pool.query.bind(pool) } });
}

function isClaim(statement: unknown): boolean {
  return (
    typeof statement === "object" && statement !== null && "name" in statement && statement.name === "claim"
  );
}

async function boss(_: Pool, url: string, ms: number) {
  const notes = new Notes();
  const started = await startBoss(url);
  const make = (tenant: string, count: number) => addJobs(started, tenant, count);
  const measured = await underOldSnapshot(url, ms, notes, make, async () => {
    const stopping = new AbortController();
    const loops = [1, 2].map(() => keepFetching(started, notes, stopping.signal));
    return async () => {
      stopping.abort();
      await Promise.all(loops);
    };
  });
  await started.stop({ graceful: true });
  return measured;
}

async function keepFetching(started: PgBoss, notes: Notes, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const began = performance.now();
    const jobs = await started.fetch(queue, { batchSize: 50 });
    const fetched = performance.now();
    if (jobs.length === 0) {
      await delay(5);
      continue;
    }
    notes.claims.push({ at: fetched, ms: fetched - began });
    await started.complete(
      queue,
      jobs.map(({ id }) => id),
    );
    const ended = performance.now();
    for (const _ of jobs) notes.ends.push(ended);
  }
}

async function underOldSnapshot(
  url: string,
  ms: number,
  notes: Notes,
  make: (tenant: string, count: number) => Promise<unknown>,
  start: () => Promise<() => Promise<void>>,
) {
  const old = new pg.Client({ connectionString: url });
  await old.connect();
  await old.query("begin isolation level repeatable read; select 1");
  const began = performance.now();
  const stop = await start();
  const made = await makeAtRate(began + ms, make);
  const until = performance.now();
  await stop();
  await old.query("rollback");
  await old.end();
  const edge = Math.min(edgeMs, ms / 2);
  const first = edgeOf(notes, began, began + edge);
  const last = edgeOf(notes, until - edge, until);
  return {
    ...{ offered: made, ended: notes.ends.length, first, last },
    rate_fell_by_percent: Math.round((1 - last.ended_a_second / first.ended_a_second) * 1_000) / 10,
  };
}

/** Makes a page of jobs each tenth of a second, of one tenant after another, however long the last one took. */
async function makeAtRate(
  until: number,
  make: (tenant: string, count: number) => Promise<unknown>,
): Promise<number> {
  const began = performance.now();
  const making: Promise<unknown>[] = [];
  for (let nth = 0; performance.now() < until; nth++) {
    making.push(make(tenants[nth % tenants.length] ?? "", rate / 10));
    await delay(Math.max(0, began + (nth + 1) * 100 - performance.now()));
  }
  await Promise.all(making);
  return (making.length * rate) / 10;
}

function edgeOf({ ends, claims }: Notes, from: number, to: number) {
  const within = claims.filter(({ at }) => at >= from && at < to).map(({ ms }) => ms);
  const sorted = within.sort((a, b) => a - b);
  const quantile = (share: number) =>
    Math.round((sorted[Math.floor(sorted.length * share)] ?? 0) * 100) / 100;
  return {
    ended_a_second:
      Math.round((ends.filter((at) => at >= from && at < to).length / (to - from)) * 10_000) / 10,
    claims: within.length,
    claim_p50_ms: quantile(0.5),
    claim_p99_ms: quantile(0.99),
  };
}

import { randomUUID } from "node:crypto";
import type { PgBoss } from "pg-boss";
import type { Pool } from "../src/db.ts";
import { claimRuns } from "../src/ledger/claim.ts";
import { type BenchOptions, machine, spread, withDatabase } from "./support.ts";
import { pipeline } from "./tenants/loregraph.ts";
import { addJobs, queue, startBoss } from "./tenants/pg-boss.ts";

const limit = 50;
const claims = 40;

/** What a claim of fifty costs, as more waits: in one tenant, and beside as many that may not start. */
export async function bench({ rounds, only, jobs: many = 1_000_000 }: BenchOptions) {
  const few = Math.ceil(many / 100);
  const asked = (part: string) => only === undefined || only.split(",").includes(part);
  const subjects: Subject[] = [];
  const medians = new Map<string, number[]>();
  // Each in a database of its own, all of them there at once, so that rounds can be interleaved.
  const within = async (made: readonly Made[]): Promise<string> =>
    await withDatabase(async ({ pool, url, postgres }) => {
      const [next, ...others] = made;
      if (next === undefined) return postgres;
      const { claim, end } = await next.make(pool, url);
      subjects.push({ name: next.name, claim });
      if (others.length > 0) await within(others);
      else await measure();
      await end();
      return postgres;
    });
  const measure = async () => {
    for (let round = 0; round < rounds; round++)
      for (const { name, claim } of subjects)
        medians.set(name, [...(medians.get(name) ?? []), await median(claim)]);
  };
  const parts = [
    ...(asked("loregraph") ? [ours(few), ours(many), ours(many, many)] : []),
    ...(asked("pg-boss") ? [theirs(few), theirs(many)] : []),
  ];
  const postgres = await within(parts);
  const p50 = new Map([...medians].map(([name, values]) => [name, spread(values)]));
  const beside = (name: string) => (p50.get(name)?.median ?? 0) / (p50.get(ours(few).name)?.median ?? 0);
  return {
    bench: "backlog",
    what: `p50 of claiming ${limit}, in ms, over ${claims} claims a round, ${rounds} rounds, interleaved; after each, what was claimed ends and as many are enqueued`,
    machine: machine(),
    postgres,
    settings: {
      loregraph: "claimRuns alone, without what a worker remembers; its own commit waits for no disk",
      "pg-boss 12.35.0": "fetch with groupConcurrency 1,000,000, one group",
    },
    p50_ms: Object.fromEntries(p50),
    ratio: Math.round(beside(ours(many).name) * 100) / 100,
    ratio_beside_others: Math.round(beside(ours(many, many).name) * 100) / 100,
  };
}

type Subject = { readonly name: string; readonly claim: () => Promise<number> };
type Made = {
  readonly name: string;
  readonly make: (
    pool: Pool,
    url: string,
  ) => Promise<{ claim: () => Promise<number>; end: () => Promise<void> }>;
};

/** The median of what `claim` says that it took, in milliseconds; the first two only warm up. */
async function median(claim: () => Promise<number>): Promise<number> {
  for (let n = 0; n < 2; n++) await claim();
  const took: number[] = [];
  for (let n = 0; n < claims; n++) took.push(await claim());
  return took.sort((a, b) => a - b)[claims >> 1] ?? 0;
}

function ours(pending: number, others = 0): Made {
  return {
    name: `loregraph: ${pending} pending${others > 0 ? `, and ${others} paused, due later or dead` : ""}`,
    async make(pool) {
      const tenant = randomUUID();
      await fill(pool, pending, { tenant });
      if (others > 0) await fillOthers(pool, others, tenant);
      await pool.query("vacuum analyze pipeline_runs");
      return { claim: () => claimOnce(pool, tenant), end: async () => {} };
    },
  };
}

async function claimOnce(pool: Pool, tenant: string): Promise<number> {
  const began = performance.now();
  const options = { worker: "bench", pipelines: [pipeline, "paused"], limit, leaseMs: 10_000 };
  const claimed = await claimRuns(pool, options);
  const took = performance.now() - began;
  if (claimed.length !== limit) throw new Error(`expected ${limit} runs, got: ${claimed.length}`);
  await pool.query(
    `update pipeline_runs set status = 'success', outcome = 'completed', finished_at = now(),
       lease_token = null, lease_expires_at = null, worker = null
     where tenant_id = $1 and id = any ($2)`,
    [tenant, claimed.map(({ id }) => id)],
  );
  await fill(pool, limit, { tenant });
  return took;
}

type Filled = {
  readonly tenant: string;
  readonly of?: string;
  readonly columns?: string;
  readonly values?: string;
};

async function fill(pool: Pool, runs: number, { tenant, of = pipeline, columns = "", values = "" }: Filled) {
  await pool.query(
    `insert into pipeline_runs (tenant_id, source_type, source_id, source_version, pipeline, max_attempts${columns})
     select $1, 'scene', gen_random_uuid(), 1, $2, 3${values} from generate_series(1, $3)`,
    [tenant, of, Math.round(runs)],
  );
}

/** A quarter each: of a paused tenant, of a paused pipeline, of a paused reingest, and due later or dead. */
async function fillOthers(pool: Pool, runs: number, tenant: string): Promise<void> {
  const [paused, reingest] = [randomUUID(), randomUUID()];
  await pool.query("insert into tenant_controls (tenant_id, paused_at) values ($1, now())", [paused]);
  await pool.query("insert into pipeline_controls (pipeline, paused_at) values ('paused', now())");
  await pool.query(
    "insert into reingests (tenant_id, id, status, request, priority, total) values ($1, $2, 'paused', '{}', 0, 0)",
    [tenant, reingest],
  );
  await fill(pool, runs / 4, { tenant: paused });
  await fill(pool, runs / 4, { tenant, of: "paused" });
  await fill(pool, runs / 4, { tenant, columns: ", reingest_id", values: `, '${reingest}'` });
  await fill(pool, runs / 8, { tenant, columns: ", run_after", values: ", now() + interval '1 day'" });
  const dead = {
    columns: ", status, finished_at, error_code, error_message",
    values: ", 'failed', now(), 'GRAPH_FAILED', 'no'",
  };
  await fill(pool, runs / 8, { tenant, ...dead });
}

function theirs(pending: number): Made {
  return {
    name: `pg-boss 12.35.0: ${pending} waiting`,
    async make(pool, url) {
      const boss = await startBoss(url);
      const tenant = randomUUID();
      await addJobs(boss, tenant, pending);
      await pool.query("vacuum analyze");
      return { claim: () => fetchOnce(boss, tenant), end: () => boss.stop({ graceful: true }) };
    },
  };
}

async function fetchOnce(boss: PgBoss, tenant: string): Promise<number> {
  const began = performance.now();
  const jobs = await boss.fetch(queue, { batchSize: limit, groupConcurrency: 1_000_000 });
  const took = performance.now() - began;
  if (jobs.length !== limit) throw new Error(`expected ${limit} jobs, got: ${jobs.length}`);
  await boss.complete(
    queue,
    jobs.map(({ id }) => id),
  );
  await addJobs(boss, tenant, limit);
  return took;
}

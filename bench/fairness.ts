import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import type { Pool } from "../src/db.ts";
import { type BenchOptions, machine, spread, withDatabase } from "./support.ts";
import type { Contender } from "./tenants/contender.ts";
import { loregraph } from "./tenants/loregraph.ts";
import { pgBoss } from "./tenants/pg-boss.ts";

const slots = 10;

/** How slots are shared: between nine equal tenants, by weights, and between a whale and twenty minnows. */
export async function bench({ rounds, only, jobs: whale = 100_000 }: BenchOptions) {
  const asked = (part: string) => only === undefined || only.split(",").includes(part);
  return await withDatabase(async ({ pool, url, postgres }) => {
    const ours = loregraph(pool, url);
    const contenders = [ours, await pgBoss(url, 2)];
    const equal = new Map(contenders.map(({ name }) => [name, [] as number[]]));
    const ratios = new Map(contenders.map(({ name }) => [name, [] as number[]]));
    const waits = new Map(contenders.map(({ name }) => [name, [] as Waits[]]));
    const weighed: number[] = [];
    for (let round = 0; round < rounds; round++) {
      for (const contender of contenders) {
        if (asked("equal")) equal.get(contender.name)?.push(jain(await shareEqually(contender)));
        if (!asked("minnows")) continue;
        const measured = await minnows(contender, whale);
        waits.get(contender.name)?.push(measured);
        ratios.get(contender.name)?.push(measured.beside / measured.idle);
      }
      if (asked("weights")) weighed.push(await furthestFromWeights(pool, ours));
    }
    for (const contender of contenders) await contender.end();
    const each = <Value>(of: (name: string) => Value) =>
      Object.fromEntries(contenders.map(({ name }) => [name, of(name)]));
    return {
      bench: "fairness",
      what: `${slots} slots, ${rounds} rounds, interleaved; a backlog of nine equal tenants, enqueued one tenant after another; three tenants of weights 1, 2 and 3; a whale with ${whale} jobs beside twenty minnows that send one job each about every half second`,
      machine: machine(),
      postgres,
      settings: Object.fromEntries(contenders.map(({ name, settings }) => [name, settings])),
      jain_of_nine_equal_tenants: each((name) => spread(equal.get(name) ?? [])),
      furthest_from_its_weight: spread(weighed),
      minnows_p99_ms_alone: each((name) => spread((waits.get(name) ?? []).map(({ idle }) => idle))),
      minnows_p99_ms_beside_the_whale: each((name) =>
        spread((waits.get(name) ?? []).map(({ beside }) => beside)),
      ),
      ratio: each((name) => spread(ratios.get(name) ?? [])),
    };
  });
}

/** Jain's index: 1 where all get the same, 1 / n where one gets everything. */
function jain(shares: readonly number[]): number {
  const sum = shares.reduce((all, share) => all + share, 0);
  const squares = shares.reduce((all, share) => all + share ** 2, 0);
  return sum ** 2 / (shares.length * squares);
}

/** How many jobs of each tenant had begun when a third of all had. */
async function shareEqually(contender: Contender): Promise<readonly number[]> {
  return await begunOfEach(contender, { tenants: newTenants(9), jobs: 300, until: 900, ms: 5 });
}

type Backlog = {
  readonly tenants: readonly string[];
  /** Of each tenant. */
  readonly jobs: number;
  /** How many are to begin. */
  readonly until: number;
  readonly ms: number;
};

async function begunOfEach(
  contender: Contender,
  { tenants, jobs, until, ms }: Backlog,
): Promise<readonly number[]> {
  for (const tenant of tenants) await contender.add(tenant, jobs);
  const begun = new Map(tenants.map((tenant) => [tenant, 0]));
  let left = until;
  const enough = Promise.withResolvers<void>();
  const onBegun = (_: string, tenant: string) => {
    if (left-- > 0) begun.set(tenant, (begun.get(tenant) ?? 0) + 1);
    if (left === 0) enough.resolve();
  };
  const working = await contender.work({ slots, ms, onBegun });
  await enough.promise;
  await working.stop();
  await contender.forget();
  return [...begun.values()];
}

/** Of three tenants with weights, how far the one that is furthest from its share is from it, as a part of that. */
async function furthestFromWeights(pool: Pool, ours: Contender): Promise<number> {
  const [tenants, weights] = [newTenants(3), [1, 2, 3]];
  for (const [nth, tenant] of tenants.entries())
    await pool.query("insert into tenant_controls (tenant_id, weight) values ($1, $2)", [
      tenant,
      weights[nth],
    ]);
  const begun = await begunOfEach(ours, { tenants, jobs: 600, until: 900, ms: 20 });
  return Math.max(...begun.map((jobs, nth) => Math.abs(jobs / (150 * (weights[nth] ?? 1)) - 1)));
}

/** The minnows' p99 wait, in milliseconds, alone and beside a whale. */
type Waits = { readonly idle: number; readonly beside: number };

async function minnows(contender: Contender, whale: number): Promise<Waits> {
  const idle = await p99OfMinnows(contender);
  await contender.add(newTenants(1)[0] ?? "", whale);
  const beside = await p99OfMinnows(contender);
  await contender.forget();
  return { idle, beside };
}

const jobsOfEach = 20;

/** Each of twenty tenants sends a job about every half second, at its own time. */
async function p99OfMinnows(contender: Contender): Promise<number> {
  const begun = new Map<string, number>();
  const working = await contender.work({
    slots,
    ms: 20,
    onBegun: (id) => void begun.set(id, performance.now()),
  });
  await delay(1_000);
  const sent = (
    await Promise.all(newTenants(20).map((tenant, nth) => sendJobs(contender, tenant, nth)))
  ).flat();
  while (!sent.every(({ id }) => begun.has(id))) await delay(20);
  await working.stop();
  const waits = sent.map(({ id, at }) => Math.max(0, (begun.get(id) ?? at) - at)).sort((a, b) => a - b);
  return waits[Math.floor(waits.length * 0.99)] ?? 0;
}

type Sent = { readonly id: string; readonly at: number };

async function sendJobs(contender: Contender, tenant: string, nth: number): Promise<readonly Sent[]> {
  const sent: Sent[] = [];
  await delay(nth * 25);
  for (let job = 0; job < jobsOfEach; job++) {
    const id = await contender.add(tenant, 1);
    sent.push({ id, at: performance.now() });
    await delay(500);
  }
  return sent;
}

function newTenants(count: number): readonly string[] {
  return Array.from({ length: count }, () => randomUUID());
}

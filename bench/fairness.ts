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
    const begun = new Map(contenders.map(({ name }) => [name, [] as number[]]));
    const ratios = new Map(contenders.map(({ name }) => [name, [] as number[]]));
    const waits = new Map(contenders.map(({ name }) => [name, [] as Waits[]]));
    const weighed: number[] = [];
    for (let round = 0; round < rounds; round++) {
      for (const contender of contenders) {
        if (asked("equal")) {
          const shares = await shareEqually(contender);
          equal.get(contender.name)?.push(jain(shares));
          begun.get(contender.name)?.push(shares.reduce((all, share) => all + share, 0));
        }
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
      what: `${slots} slots, ${rounds} rounds, interleaved; a backlog of nine equal tenants, enqueued one tenant after another; three tenants of weights 1, 2 and 3 on 12 slots; a whale with ${whale} jobs beside twenty minnows that send one job each about every half second`,
      machine: machine(),
      postgres,
      settings: Object.fromEntries(contenders.map(({ name, settings }) => [name, settings])),
      jain_of_nine_equal_tenants: each((name) => spread(equal.get(name) ?? [])),
      begun_within_3_s: each((name) => spread(begun.get(name) ?? [])),
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

/** How many jobs of each tenant begin within the window, by which none of them has begun all of its jobs. */
async function shareEqually(contender: Contender): Promise<readonly number[]> {
  return await begunOfEach(contender, newTenants(9));
}

const windowMs = 3_000;

async function begunOfEach(
  contender: Contender,
  tenants: readonly string[],
  places = slots,
): Promise<readonly number[]> {
  const [jobs, ms] = [1_000, 20];
  for (const tenant of tenants) await contender.add(tenant, jobs);
  const begun = new Map(tenants.map((tenant) => [tenant, 0]));
  const until = performance.now() + windowMs;
  const onBegun = (_: string, tenant: string) => {
    if (performance.now() < until) begun.set(tenant, (begun.get(tenant) ?? 0) + 1);
  };
  const working = await contender.work({ slots: places, ms, onBegun });
  await delay(windowMs);
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
  const begun = await begunOfEach(ours, tenants, 12);
  const each = begun.reduce((all, jobs) => all + jobs, 0) / weights.reduce((all, weight) => all + weight, 0);
  return Math.max(...begun.map((jobs, nth) => Math.abs(jobs / (each * (weights[nth] ?? 1)) - 1)));
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

/** How long it is waited for the last of them, in milliseconds; one that has not begun then counts with what it waited. */
const longestMs = 10_000;

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
  const until = performance.now() + longestMs;
  while (performance.now() < until && !sent.every(({ id }) => begun.has(id))) await delay(20);
  await working.stop();
  const now = performance.now();
  const waits = sent.map(({ id, at }) => Math.max(0, (begun.get(id) ?? now) - at)).sort((a, b) => a - b);
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

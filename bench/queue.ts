import type { Pool } from "../src/db.ts";
import type { Contender } from "./queue/contender.ts";
import { graphileWorker } from "./queue/graphile-worker.ts";
import { loregraph } from "./queue/loregraph.ts";
import { pgBoss } from "./queue/pg-boss.ts";
import { type BenchOptions, machine, spread, withDatabase } from "./support.ts";

const latencies = 100;

const queues: Readonly<Record<string, (pool: Pool, url: string) => Contender | Promise<Contender>>> = {
  loregraph: (pool, url) => loregraph(pool, url, "job"),
  "loregraph-graph": (pool, url) => loregraph(pool, url, "graph"),
  "loregraph-node": (pool, url) => loregraph(pool, url, "node"),
  "pg-boss": pgBoss,
  "graphile-worker": graphileWorker,
};

type Measured = { enqueue: number[]; burnDown: number[]; p50: number[]; p99: number[] };

/** What a queue costs by itself: jobs that do nothing, each acknowledged durably, beside two others on the same Postgres. */
export async function bench({ rounds, only, jobs = 50_000 }: BenchOptions) {
  return await withDatabase(async ({ pool, url, postgres }) => {
    const asked = Object.entries(queues).filter(
      ([name]) => only === undefined || only.split(",").includes(name),
    );
    const contenders = await Promise.all(asked.map(([, open]) => open(pool, url)));
    const measured = new Map<Contender, Measured>();
    for (let round = 0; round < rounds; round++) {
      for (const contender of contenders) await measure(contender, jobs, measuredOf(measured, contender));
    }
    for (const contender of contenders) await contender.end();
    return {
      bench: "queue",
      what: `${jobs} jobs that do nothing; ${latencies} waits of an idle queue; ${rounds} rounds, interleaved`,
      machine: machine(),
      postgres,
      queues: contenders.map((contender) => summary(contender, measuredOf(measured, contender))),
    };
  });
}

function measuredOf(measured: Map<Contender, Measured>, contender: Contender): Measured {
  const found = measured.get(contender) ?? { enqueue: [], burnDown: [], p50: [], p99: [] };
  measured.set(contender, found);
  return found;
}

async function measure(contender: Contender, jobs: number, { enqueue, burnDown, p50, p99 }: Measured) {
  await contender.forget();
  if (!contender.onlyWaits) {
    enqueue.push(jobs / (await seconds(() => contender.enqueue(jobs))));
    burnDown.push(jobs / (await seconds(() => contender.burnDown(jobs))));
  }
  const waits = (await contender.wait(latencies)).toSorted((a, b) => a - b);
  p50.push(waits[waits.length >> 1] ?? 0);
  p99.push(waits[Math.floor(waits.length * 0.99)] ?? 0);
}

async function seconds(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return (performance.now() - started) / 1_000;
}

function summary({ name, settings }: Contender, { enqueue, burnDown, p50, p99 }: Measured) {
  const rates = enqueue.length > 0 && {
    enqueued_per_second: spread(enqueue),
    jobs_per_second: spread(burnDown),
  };
  return { name, settings, ...rates, wait_ms: { p50: spread(p50), p99: spread(p99) } };
}

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { Pool } from "../src/db.ts";
import { type BenchOptions, machine, spread, withDatabase } from "./support.ts";
import { graphContext, takeInScenes } from "./worker.ts";

const counts = [1, 2, 4];

/** One backlog, burnt down by one, two and four worker processes. */
export async function bench({ rounds, jobs = 4_000 }: BenchOptions) {
  return await withDatabase(async ({ pool, url, postgres }) => {
    const rates = new Map(counts.map((count) => [count, [] as number[]]));
    for (let round = 0; round < rounds; round++) {
      for (const count of counts) rates.get(count)?.push(await burnDown(pool, url, count, jobs));
    }
    const one = spread(rates.get(1) ?? []).median;
    return {
      bench: "scale",
      what: `runs per second of a graph of 3 nodes, ${jobs} runs, 16 at a time in each process, ${rounds} rounds, interleaved`,
      machine: machine(),
      postgres,
      processes: [...rates].map(([processes, measured]) => {
        const runs_per_second = spread(measured);
        return {
          processes,
          runs_per_second,
          times_one: Math.round((runs_per_second.median / one) * 100) / 100,
        };
      }),
    };
  });
}

async function burnDown(pool: Pool, url: string, count: number, jobs: number): Promise<number> {
  const { registry } = graphContext(pool);
  await pool.query(
    "truncate pipeline_runs, entities, events, checkpoints, checkpoint_blobs, checkpoint_writes cascade",
  );
  await takeInScenes(pool, registry, jobs);
  await pool.query("vacuum analyze");
  const workers = await Promise.all(Array.from({ length: count }, () => startWorker(url)));
  const started = performance.now();
  for (const { begin } of workers) begin();
  await Promise.all(workers.map(({ line }) => line()));
  const seconds = (performance.now() - started) / 1_000;
  await Promise.all(workers.map(({ exited }) => exited));
  return jobs / seconds;
}

async function startWorker(url: string) {
  const file = fileURLToPath(new URL("scale/process.ts", import.meta.url));
  const child = spawn(process.execPath, [file, url], { stdio: ["pipe", "pipe", "inherit"] });
  const exited = once(child, "exit"); // from the start: one may be gone before the others are done
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const line = () => lines.next();
  await line();
  return { line, exited, begin: () => child.stdin.write("go\n") };
}

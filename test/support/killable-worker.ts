import { setTimeout as thinking } from "node:timers/promises";
import { openPool } from "../../src/db.ts";
import type { Pipeline } from "../../src/pipeline.ts";
import { Worker } from "../../src/worker/worker.ts";
import { askingTwice, threeSteps, visits } from "./pipelines.ts";
import { runtime } from "./runtime.ts";

// A worker in a process of its own, to be killed: `killable-worker.ts <database url> [asking]` says "started", then
// "done".

const retries = { attempts: 30, base: 1, most: 5 };

/** Graphs that take a moment for each step, so that most kills hit one in the middle. */
export const slowPipelines: readonly Pipeline[] = [
  threeSteps(() => thinking(15), { name: "steps", retries }),
  visits(
    async (word) => {
      await thinking(15);
      return word.toUpperCase();
    },
    { name: "visits", retries },
  ),
];

/** Asks two people in one step, and takes a moment around each. */
export const slowAsking: Pipeline = askingTwice({ retries }, () => thinking(30));

export async function workUntilDone(
  url: string,
  onStarted: () => void = () => {},
  pipelines: readonly Pipeline[] = slowPipelines,
): Promise<void> {
  const pool = openPool(url);
  const context = runtime({ pool, url }, ...pipelines);
  const worker = new Worker(context, { url, concurrency: 4, leaseMs: 400, drainMs: 2_000 });
  worker.start();
  onStarted();
  await worker.untilDone();
  await worker.stop();
  await pool.end();
}

if (import.meta.main) {
  const [url = "", which] = process.argv.slice(2);
  await workUntilDone(url, () => console.log("started"), which === "asking" ? [slowAsking] : slowPipelines);
  console.log("done");
}

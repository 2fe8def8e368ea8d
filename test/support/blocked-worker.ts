import { writeSync } from "node:fs";
import { openPool } from "../../src/db.ts";
import { Worker } from "../../src/worker/worker.ts";
import { echo } from "./pipelines.ts";
import { runtime } from "./runtime.ts";

// A worker whose graph never lets go of its thread: `blocked-worker.ts <database url>` says "blocked".

/** Tried twice. */
export const blocking = echo(
  () => {
    writeSync(1, "blocked\n");
    for (;;);
  },
  { retries: { attempts: 2, base: 1, most: 5 } },
);

if (import.meta.main) {
  const [url = ""] = process.argv.slice(2);
  const pool = openPool(url);
  new Worker(runtime({ pool, url }, blocking), { url, concurrency: 1, leaseMs: 500, drainMs: 0 }).start();
}

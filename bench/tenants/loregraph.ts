import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import type { Pool } from "../../src/db.ts";
import { enqueueRuns } from "../../src/ledger/enqueue.ts";
import type { Attempt } from "../../src/worker/attempt.ts";
import { Worker } from "../../src/worker/worker.ts";
import { contextOf } from "../context.ts";
import { nothing as endingInGroups } from "../queue/loregraph.ts";
import { type Contender, type OnBegun, pages } from "./contender.ts";

export const pipeline = "nothing";

/** An attempt without a graph: it is claimed under a lease, waits, and is ended under it, in groups. */
export function nothing(pool: Pool, ms: number, onBegun: OnBegun): Attempt {
  const end = endingInGroups(pool);
  return async (context, run, stop) => {
    onBegun(run.id, run.tenant_id);
    if (ms > 0) await delay(ms);
    return await end(context, run, stop);
  };
}

export async function enqueueNothing(pool: Pool, tenant_id: string, count: number): Promise<string> {
  let last = "";
  for (const size of pages(count)) {
    const runs = Array.from({ length: size }, () => ({
      ...({ tenant_id, source_type: "scene", source_id: randomUUID(), source_version: 1 } as const),
      ...{ pipeline, priority: 0, max_attempts: 5 },
    }));
    last = (await enqueueRuns(pool, runs)).at(-1)?.id ?? "";
  }
  return last;
}

export function loregraph(pool: Pool, url: string): Contender {
  return {
    name: "loregraph",
    settings: "one worker, no caps, runs ended in groups; a claim's own commit waits for no disk",
    add: (tenant, count) => enqueueNothing(pool, tenant, count),
    async work({ slots, ms, onBegun }) {
      const options = {
        url,
        pipelines: [pipeline],
        concurrency: slots,
        attempt: nothing(pool, ms, onBegun),
        drainMs: 1_000,
      };
      const worker = new Worker(contextOf(pool), options);
      worker.start();
      return worker;
    },
    async forget() {
      await pool.query("truncate pipeline_runs, tenant_turns, tenant_controls");
    },
    end: async () => {},
  };
}

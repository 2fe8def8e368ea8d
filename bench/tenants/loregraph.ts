import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import pino from "pino";
import type { Pool } from "../../src/db.ts";
import { succeedRun } from "../../src/ledger/attempt.ts";
import { enqueueRuns } from "../../src/ledger/enqueue.ts";
import { openModels } from "../../src/models/models.ts";
import { noUsage } from "../../src/pipeline.ts";
import type { Attempt } from "../../src/worker/attempt.ts";
import type { Context } from "../../src/worker/context.ts";
import { Worker } from "../../src/worker/worker.ts";
import { type Contender, type OnBegun, pages } from "./contender.ts";

export const pipeline = "nothing";

/** An attempt without a graph: it is claimed under a lease, waits, and ends under that lease, each on its own. */
export function nothing(ms: number, onBegun: OnBegun): Attempt {
  return async ({ pool }, run) => {
    onBegun(run.id, run.tenant_id);
    if (ms > 0) await delay(ms);
    await succeedRun(pool, run, { outcome: "completed", usage: noUsage });
    return { ending: { kind: "delivered", events: 0 } };
  };
}

export function contextOf(pool: Pool): Context {
  const models = openModels({
    ...{ apiKey: undefined, baseUrl: undefined, chatModel: "none", embeddingModel: "none" },
    ...{ timeoutMs: 1_000, prices: undefined },
  });
  return { pool, schema: "loregraph", registry: new Map(), models, log: pino({ level: "silent" }) };
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
    settings: "one worker, no caps, each run ended on its own; a claim's own commit waits for no disk",
    add: (tenant, count) => enqueueNothing(pool, tenant, count),
    async work({ slots, ms, onBegun }) {
      const options = {
        url,
        pipelines: [pipeline],
        concurrency: slots,
        attempt: nothing(ms, onBegun),
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

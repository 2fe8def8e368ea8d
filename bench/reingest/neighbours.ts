import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { z } from "zod";
import { many } from "../../src/db.ts";
import { latencies } from "./latency.ts";
import { type Served, startApi, startWorker } from "./processes.ts";
import type { Database } from "./produce.ts";
import { ask } from "./reads.ts";
import { makeTenant } from "./tenant.ts";

const tenants = 20;
const seconds = 30;
const graphMs = 50;

/** Twenty tenants push an entity a second each, on an idle system and beside a reingest of 100,000 entities. */
export async function neighbours(database: Database) {
  const busyTenant = await makeTenant(database.pool, { entities: 100_000, ms: graphMs });
  const api = await startApi(database.url);
  const worker = startWorker(database.url, 16);
  try {
    await push(database, api, 5);
    const idle = latencies(await push(database, api, seconds));
    const path = `${api.url}/admin/tenants/${busyTenant}/reingest`;
    await ask(path, api.key, { method: "POST", body: JSON.stringify({ force: true }) });
    await delay(3_000);
    const beside = latencies(await push(database, api, seconds));
    return { idle, beside, ratio_p99: Math.round((beside.p99_ms / idle.p99_ms) * 100) / 100 };
  } finally {
    await Promise.all([worker.stop(), api.stop()]);
  }
}

/** @returns from the start of each push to the commit of its enrichment, in milliseconds. */
async function push(database: Database, api: Served, forSeconds: number): Promise<readonly number[]> {
  const pushed = new Map<string, number>();
  const tenant = async (nth: number) => {
    const id = randomUUID();
    await delay((nth * 1_000) / tenants);
    for (let second = 0; second < forSeconds; second++) {
      const source_id = randomUUID();
      const entity = {
        source_type: "scene",
        source_id,
        title: "Pushed",
        text: "A bell rang.",
        metadata: { ms: graphMs },
      };
      pushed.set(source_id, Date.now());
      const next = delay(1_000);
      await ask(`${api.url}/tenants/${id}/entities`, api.key, {
        method: "PUT",
        body: JSON.stringify({ entities: [entity] }),
      });
      await next;
    }
  };
  await Promise.all(Array.from({ length: tenants }, (_, nth) => tenant(nth)));
  return await enrichedAfter(database, pushed);
}

const Ended = z.object({ source_id: z.guid(), finished_at: z.date() });

/** The clocks are one: database and bench run on one machine. */
async function enrichedAfter(
  { pool }: Database,
  pushed: ReadonlyMap<string, number>,
): Promise<readonly number[]> {
  for (;;) {
    const ended = await many(
      pool,
      Ended,
      "select source_id, finished_at from pipeline_runs where pipeline = 'note' and status = 'success' and source_id = any ($1)",
      [[...pushed.keys()]],
    );
    if (ended.length === pushed.size)
      return ended.map(({ source_id, finished_at }) => finished_at.getTime() - (pushed.get(source_id) ?? 0));
    await delay(200);
  }
}

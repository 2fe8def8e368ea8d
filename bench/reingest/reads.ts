import { setTimeout as delay } from "node:timers/promises";
import { z } from "zod";
import { many, one } from "../../src/db.ts";
import { latencies } from "./latency.ts";
import { startApi, startWorker } from "./processes.ts";
import type { Database } from "./produce.ts";
import { makeTenant } from "./tenant.ts";

const inFlight = 232; // of which one in eight stays free of reingests
const clients = 4;
const reads = 2_000;

/** Four clients read one entity after the other, while a worker runs 200 graphs that take five seconds each. */
export async function read(database: Database) {
  const { pool, url } = database;
  const tenant = await makeTenant(pool, { entities: 5_000, ms: 5_000 });
  const api = await startApi(url);
  const path = `${api.url}/admin/tenants/${tenant}/reingest`;
  const idle = latencies(await readAll(database, api, tenant));
  await ask(path, api.key, { method: "POST", body: JSON.stringify({ force: true, pipelines: ["note"] }) });
  const worker = startWorker(url, inFlight);
  try {
    const least = await untilInFlight(database, tenant, 200);
    const busy = latencies(await readAll(database, api, tenant));
    return { idle, busy, in_flight: { before: least, after: await running(database, tenant) } };
  } finally {
    await Promise.all([worker.stop(), api.stop()]);
  }
}

async function readAll({ pool }: Database, api: { url: string; key: string }, tenant: string) {
  const ids = await many(
    pool,
    z.object({ source_id: z.guid() }),
    "select source_id from entities where tenant_id = $1 order by md5(source_id::text) limit $2",
    [tenant, reads],
  );
  const queue = ids.values();
  const took: number[] = [];
  const client = async () => {
    for (const { source_id } of queue) {
      const started = performance.now();
      await ask(`${api.url}/tenants/${tenant}/entities/scene/${source_id}`, api.key);
      took.push(performance.now() - started);
      await delay(5);
    }
  };
  await Promise.all(Array.from({ length: clients }, client));
  return took;
}

export async function ask(url: string, key: string, init: RequestInit = {}): Promise<unknown> {
  const type = init.body ? { "content-type": "application/json" } : {};
  const answer = await fetch(url, { ...init, headers: { authorization: `Bearer ${key}`, ...type } });
  if (!answer.ok)
    throw new Error(`${init.method ?? "GET"} ${url} answered ${answer.status}: ${await answer.text()}`);
  return await answer.json();
}

async function running({ pool }: Database, tenant: string): Promise<number> {
  const { runs } = await one(
    pool,
    z.object({ runs: z.coerce.number() }),
    "select count(*) as runs from pipeline_runs where tenant_id = $1 and status = 'running'",
    [tenant],
  );
  return runs;
}

async function untilInFlight(database: Database, tenant: string, least: number): Promise<number> {
  for (;;) {
    const runs = await running(database, tenant);
    if (runs >= least) return runs;
    await delay(100);
  }
}

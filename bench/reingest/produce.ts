import { one, type Pool } from "../../src/db.ts";
import { loadRegistry } from "../../src/registry.ts";
import { Producer } from "../../src/reingest/producer.ts";
import { Reingest } from "../../src/reingest/reingest.ts";
import { ReingestRequest } from "../../src/reingest/request.ts";
import { startReingest } from "../../src/reingest/start.ts";
import { contextOf } from "../context.ts";
import { spread } from "../support.ts";
import { graphs } from "./tenant.ts";

export type Database = { readonly pool: Pool; readonly url: string };

/** From the first page to the last, nothing else running: pairs decided and entities gone through each second. */
export async function produce(
  { pool, url }: Database,
  tenant: string,
  request: Partial<ReingestRequest>,
  rounds: number,
) {
  const context = contextOf(pool, [...(await loadRegistry(graphs)).values()]);
  const perSecond: number[] = [];
  let last: Reingest | undefined;
  for (let round = 0; round < rounds; round++) {
    const { reingest, counts } = await startReingest(context, tenant, ReingestRequest.parse(request));
    const producer = new Producer(context, { url, pendingBound: Number.MAX_SAFE_INTEGER, pollMs: 50 });
    const started = performance.now();
    producer.start();
    last = await untilProduced(pool, reingest.id);
    perSecond.push(counts.entities / ((performance.now() - started) / 1_000));
    await producer.stop();
    await pool.query("delete from pipeline_runs where reingest_id = $1", [reingest.id]);
  }
  return { entities_per_second: spread(perSecond), enqueued: last?.enqueued, skipped: last?.skipped };
}

async function untilProduced(pool: Pool, id: string): Promise<Reingest> {
  for (;;) {
    const row = await one(pool, Reingest, "select * from reingests where id = $1", [id]);
    if (row.produced_at) return row;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

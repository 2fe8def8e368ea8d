import { setTimeout as delay } from "node:timers/promises";
import { z } from "zod";
import { one } from "../../src/db.ts";
import { startApi, startWorker } from "./processes.ts";
import type { Database } from "./produce.ts";
import { ask } from "./reads.ts";

const Counts = z.object({
  claimed: z.coerce.number(),
  doubled: z.coerce.number(),
  late_ms: z.coerce.number().nullable(),
});

/** Pauses and resumes a reingest with nearly all of its tenant left, five times. */
export async function pause(database: Database, tenant: string, rounds: number) {
  const { pool, url } = database;
  const api = await startApi(url);
  const worker = startWorker(url, 8);
  const base = `${api.url}/admin/tenants/${tenant}`;
  try {
    const asked = await ask(`${base}/reingest`, api.key, {
      method: "POST",
      body: JSON.stringify({ force: true }),
    });
    const { id } = z.object({ id: z.guid() }).parse(asked);
    const steer = (how: string) => ask(`${base}/reingests/${id}/${how}`, api.key, { method: "POST" });
    const last: number[] = [];
    const claimed: number[] = [];
    for (let round = 0; round < rounds; round++) {
      await delay(3_000);
      const [{ at }] = [await now(database)];
      await steer("pause");
      await delay(3_000);
      const counts = await since(database, id, at);
      last.push(counts.late_ms ?? 0);
      claimed.push(counts.claimed);
      await steer("resume");
    }
    await delay(3_000);
    const end = await since(database, id, new Date(0));
    const { left } = await one(
      pool,
      z.object({ left: z.coerce.number() }),
      "select total - skipped - enqueued as left from reingests where id = $1",
      [id],
    );
    await steer("cancel");
    return {
      left,
      last_claim_after_pause_ms: last,
      claims_between_each_pause_and_resume: claimed,
      claimed_in_all: end.claimed,
      made_twice: end.doubled,
    };
  } finally {
    await Promise.all([worker.stop(), api.stop()]);
  }
}

async function now({ pool }: Database): Promise<{ at: Date }> {
  return await one(pool, z.object({ at: z.date() }), "select clock_timestamp() as at");
}

/** What was first claimed since, how long after the latest of them was, and which entity has two runs. */
async function since({ pool }: Database, id: string, at: Date): Promise<z.infer<typeof Counts>> {
  return await one(
    pool,
    Counts,
    `select count(*) filter (where started_at > $2) as claimed,
       count(*) - count(distinct (pipeline, source_id)) as doubled,
       extract(epoch from max(started_at) filter (where started_at > $2) - $2) * 1000 as late_ms
     from pipeline_runs where reingest_id = $1`,
    [id, at],
  );
}

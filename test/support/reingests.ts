import { randomUUID } from "node:crypto";
import { onTestFinished, vi } from "vitest";
import { one, type Pool } from "../../src/db.ts";
import { enqueueRuns } from "../../src/ledger/enqueue.ts";
import type { RunRequest } from "../../src/ledger/run.ts";
import type { Pipeline } from "../../src/pipeline.ts";
import { Producer, type ProducerOptions } from "../../src/reingest/producer.ts";
import { type Progress, progressOf } from "../../src/reingest/progress.ts";
import { Reingest, type ReingestKey, readReingest } from "../../src/reingest/reingest.ts";
import { Filters, ReingestRequest } from "../../src/reingest/request.ts";
import { hasEnded, type ReingestStatus } from "../../src/reingest/states.ts";
import { makerOf } from "../../src/store/stamps.ts";
import type { Context } from "../../src/worker/context.ts";
import type { TestDatabase } from "./database.ts";
import { request } from "./ledger.ts";
import { plainBase } from "./pipelines.ts";

export type Columns = Readonly<Record<string, unknown>>;

const now = new Date();
const unended = { finished_at: null, error_code: null, error_message: null, paused_because: null };

/** What a reingest's row bears in each status. */
export const legalReingest: Readonly<Record<ReingestStatus, Columns>> = {
  planned: { ...unended, status: "planned" },
  running: { ...unended, status: "running", started_at: now },
  paused: { ...unended, status: "paused", started_at: now },
  completed: { ...unended, status: "completed", started_at: now, produced_at: now, finished_at: now },
  failed: { ...unended, status: "failed", error_code: "X", error_message: "x", finished_at: now },
  cancelled: { ...unended, status: "cancelled", finished_at: now },
};

/** A request as it is stored. */
export function filters(given: Partial<ReingestRequest> = {}): Filters {
  return Filters.parse({ ...ReingestRequest.parse({}), types: ["scene"], pipelines: ["base"], ...given });
}

/** A reingest of a new tenant that runs and has been produced, unless `columns` say otherwise. */
export async function newReingest(pool: Pool, columns: Columns = {}): Promise<Reingest> {
  const row = {
    tenant_id: randomUUID(),
    request: JSON.stringify(filters()),
    priority: -100,
    total: 0,
    produced_at: now,
    ...legalReingest.running,
    ...columns,
  };
  const names = Object.keys(row);
  const values = names.map((_, n) => `$${n + 1}`);
  return await one(
    pool,
    Reingest,
    `insert into reingests (${names.join(", ")}) values (${values.join(", ")}) returning *`,
    Object.values(row),
  );
}

/** Enqueues `count` runs of new entities for a reingest. */
export async function enqueueFor(
  pool: Pool,
  { tenant_id, id }: ReingestKey,
  count: number,
  given: Partial<RunRequest> = {},
): Promise<readonly RunRequest[]> {
  const runs = Array.from({ length: count }, () =>
    request({ pipeline: "echo", priority: -100, tenant_id, reingest_id: id, ...given }),
  );
  await enqueueRuns(pool, runs);
  return runs;
}

/** A producer that looks often and is stopped when the test ends. */
export function startProducer(
  context: Context,
  { url }: TestDatabase,
  options: Partial<ProducerOptions> = {},
): Producer {
  const producer = new Producer(context, { url, pollMs: 20, ...options });
  producer.start();
  onTestFinished(() => producer.stop());
  return producer;
}

/** Resolves with a reingest once it is as `is` says. */
export async function untilReingest(
  pool: Pool,
  key: ReingestKey,
  is: (reingest: Reingest) => boolean,
): Promise<Reingest> {
  return await vi.waitUntil(
    async () => {
      const reingest = await readReingest(pool, key);
      return is(reingest) && reingest;
    },
    { timeout: 20_000, interval: 20 },
  );
}

export async function untilEnded(pool: Pool, key: ReingestKey): Promise<Progress> {
  await untilReingest(pool, key, ({ status }) => hasEnded(status));
  return await progressOf(pool, key);
}

/** The names and metadata of what was told of a tenant's reingests, in order. */
export async function told(pool: Pool, { tenant_id, id }: ReingestKey) {
  const { rows } = await pool.query(
    `select event, metadata from events
     where tenant_id = $1 and source_type = 'tenant' and source_id = $1 and version = 1
       and metadata ->> 'reingest_id' = $2
     order by id`,
    [tenant_id, id],
  );
  return rows.map(({ event, metadata: { reingest_id: _, ...metadata } }) => ({ event, metadata }));
}

/** Makes `count` scenes of a tenant, of which every `everyNth` has a document as base would store it now. */
export async function fillTenant(
  { pool, models }: Pick<Context, "pool" | "models">,
  tenant_id: string,
  count: number,
  { everyNth = 0, pipeline = plainBase }: { everyNth?: number; pipeline?: Pipeline } = {},
): Promise<void> {
  await pool.query(
    `insert into entities (tenant_id, source_type, source_id, version, title, text, metadata, source)
     select $1::uuid, 'scene', md5($1::text || ' ' || n)::uuid, 1, 'Scene ' || n, 'The lamp went out.', jsonb_build_object('order', n), 'test'
     from generate_series(1, $2::integer) n`,
    [tenant_id, count],
  );
  if (everyNth === 0) return;
  const { pipeline_version, model, prompt_hash } = makerOf(pipeline, models);
  await pool.query(
    `insert into documents (tenant_id, source_type, source_id, source_version, kind, language, pipeline_version, model,
       prompt_hash, input_hash, run_id)
     select tenant_id, source_type, source_id, version, 'narration', 'en', $3, $4, $5, 'i', gen_random_uuid()
     from entities where tenant_id = $1 and (metadata ->> 'order')::integer % $2 = 0`,
    [tenant_id, everyNth, pipeline_version, model, prompt_hash],
  );
}

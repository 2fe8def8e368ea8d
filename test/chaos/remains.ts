import { z } from "zod";
import { type Db, one } from "../../src/db.ts";

const key = "source_type, source_id";
const stamp = "pipeline_version, model, prompt_hash, input_hash";
const pipeline = "regexp_replace(pipeline, '^webhook:.*', 'webhook') as pipeline";

/** By table, what is promised to be the same whatever happened on the way: all but ids, times, attempts and errors. */
const promised = {
  entities: `${key}, version, title, text, metadata, source`,
  pipeline_runs: `${key}, ${pipeline}, status, outcome, source_version, priority, force, question, max_attempts,
    case when status = 'success' then jsonb_build_array(${stamp}) end as stamp, reingest_id is not null as of_reingest, parent_run_id is not null as follows`,
  documents: `${key}, source_version, kind, language, ${stamp}`,
  chunks: `${key}, ordinal, path, text, start_offset, end_offset, tokens, content_kind`,
  chunk_vectors: `${key}, ordinal, model, dimensions, text_hash, md5(vector::text) as vector`,
  chunk_fts: `${key}, ordinal, config, words::text`,
  enrichments: `${key}, pipeline, source_version, outcome, output, ${stamp}`,
  questions: "nth, question, answer_schema, default_answer, answer, answered_by",
  events: `case when source_type <> 'tenant' then source_id end as source_id, source_type, event, version,
    metadata - 'reingest_id' - 'run_id' #- '{totals,seconds}' as metadata`,
  webhook_deliveries: key,
  reingests: "status, total, skipped, enqueued, cursor, produced_at is not null as produced, paused_because",
  reingest_tallies: `pipeline, sum(done) as done, sum(skipped) as skipped, sum(failed) as failed,
    sum(cancelled) as cancelled, sum(follow_on) as follow_on`,
} as const;

const grouped: Readonly<Record<string, string>> = { reingest_tallies: "group by pipeline" };

const Remains = z.object({ remains: z.record(z.string(), z.array(z.unknown())) });
export type Remains = z.infer<typeof Remains>["remains"];

/**
 * All that is left of a tenant, table by table, in an order that tells nothing of when it came; without the mark that
 * its pipelines bear.
 */
export async function remainsOf(db: Db, tenant_id: string, mark: string): Promise<Remains> {
  const { remains } = await one(db, Remains, remainsSql, [tenant_id]);
  return JSON.parse(JSON.stringify(remains).replaceAll(mark, ""));
}

const tables = Object.entries(promised).map(
  ([table, columns]) => `'${table}', (
    select coalesce(jsonb_agg(to_jsonb(r) order by to_jsonb(r)), '[]')
    from (select ${columns} from ${table} where tenant_id = $1 ${grouped[table] ?? ""}) r
  )`,
);

const remainsSql = `select jsonb_build_object(${tables.join(", ")}) as remains`;

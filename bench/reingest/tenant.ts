import { randomUUID } from "node:crypto";
import { fileURLToPath } from "node:url";
import type { Pool } from "../../src/db.ts";
import { loadRegistry } from "../../src/registry.ts";
import { makerOf } from "../../src/store/stamps.ts";
import { noModels } from "../context.ts";

export const graphs = fileURLToPath(new URL("graphs/langgraph.json", import.meta.url));

export type Made = {
  readonly entities: number;
  /** Of which so many, from the first on, changed after they were ingested. Defaults to none. */
  readonly changed?: number;
  /** How long each of its graphs takes, in milliseconds. Defaults to 0. */
  readonly ms?: number;
};

/** A tenant of scenes of about 400 characters, all of them ingested and enriched, written by SQL. */
export async function makeTenant(pool: Pool, { entities, changed = 0, ms = 0 }: Made): Promise<string> {
  const tenant = randomUUID();
  const registry = await loadRegistry(graphs);
  const stamps = [...registry.values()].map((pipeline) => makerOf(pipeline, noModels));
  const [base, note] = stamps;
  if (!base || !note) throw new Error("expected two pipelines");
  await pool.query(
    `insert into entities (tenant_id, source_type, source_id, version, title, text, metadata, source, created_at, changed_at)
     select $1, 'scene', uuid_v7(), case when nth <= $3 then 2 else 1 end, 'Scene ' || nth,
       repeat('The lamp of scene ' || nth || ' burned low. ', 12), jsonb_build_object('ms', $4::integer), 'bench',
       now() - interval '2 days', now() - interval '1 day'
     from generate_series(1, $2) nth`,
    [tenant, entities, changed, ms],
  );
  const values = (maker: typeof base) => [tenant, maker.pipeline_version, maker.model, maker.prompt_hash];
  await pool.query(
    `insert into documents (tenant_id, source_type, source_id, source_version, kind, language, pipeline_version, model,
       prompt_hash, input_hash, run_id)
     select tenant_id, source_type, source_id, 1, 'narration', 'en', $2, $3, $4, md5(title), source_id
     from entities where tenant_id = $1`,
    values(base),
  );
  await pool.query(
    `insert into enrichments (tenant_id, source_type, source_id, pipeline, source_version, outcome, output,
       pipeline_version, model, prompt_hash, input_hash, run_id)
     select tenant_id, source_type, source_id, 'note', 1, 'completed', '{"letters": 400}', $2, $3, $4, md5(title), source_id
     from entities where tenant_id = $1`,
    values(note),
  );
  await pool.query("analyze entities, documents, enrichments");
  return tenant;
}

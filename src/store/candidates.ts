import { z } from "zod";
import { type Db, execute, many, maybeOne } from "../db.ts";
import { Emitted, SourceType, type Stamp } from "../pipeline.ts";
import type { NewEnrichment } from "./enrichments.ts";
import type { EntityKey } from "./entities.ts";
import { Deciding } from "./stamps.ts";

/** What a version that is only tried learned of an entity, and what it wanted to be told of it. */
export type NewCandidate = NewEnrichment & { readonly events: readonly Emitted[] };

/** Keeps aside what tried versions learned, while their rollouts run; what comes after their end is forgotten. */
export async function storeCandidates(db: Db, candidates: readonly NewCandidate[]): Promise<void> {
  if (candidates.length === 0) return;
  const rows = candidates.map(({ key: { tenant_id, source_type, source_id }, stamp, ...candidate }) => ({
    ...{ tenant_id, source_type, source_id },
    ...stamp,
    ...candidate,
  }));
  await execute(db, storeSql, [JSON.stringify(rows)]);
}

const storeSql = `
  with running as materialized (
    select pipeline, to_version from rollouts where status = 'running' order by id for share
  )
  insert into candidate_outputs (tenant_id, source_type, source_id, pipeline, pipeline_version, source_version, outcome,
    output, events, model, prompt_hash, input_hash, fingerprint, run_id)
  select tenant_id, source_type, source_id, pipeline, pipeline_version, source_version, outcome, output, events,
    model, prompt_hash, input_hash, nullif(fingerprint, ''), run_id
  from jsonb_to_recordset($1) as given (
    tenant_id uuid, source_type text, source_id uuid, pipeline text, source_version integer, outcome text, output jsonb,
    events jsonb, pipeline_version integer, model text, prompt_hash text, input_hash text, fingerprint text, run_id uuid
  )
  join running using (pipeline)
  where to_version = pipeline_version
  order by tenant_id, source_type, source_id
  on conflict (tenant_id, source_type, source_id, pipeline, pipeline_version) do update set
    source_version = excluded.source_version, outcome = excluded.outcome, output = excluded.output,
    events = excluded.events, model = excluded.model, prompt_hash = excluded.prompt_hash,
    input_hash = excluded.input_hash, fingerprint = excluded.fingerprint, run_id = excluded.run_id, stored_at = now()`;

/** Says that a candidate still holds for a newer version of its entity. */
export async function confirmCandidate(
  db: Db,
  { key, pipeline, pipeline_version, source_version }: CandidateKey & { readonly source_version: number },
): Promise<void> {
  await execute(
    db,
    `update candidate_outputs set source_version = $6
     where tenant_id = $1 and source_type = $2 and source_id = $3 and pipeline = $4 and pipeline_version = $5
       and source_version < $6`,
    [key.tenant_id, key.source_type, key.source_id, pipeline, pipeline_version, source_version],
  );
}

export type CandidateKey = {
  readonly key: EntityKey;
  readonly pipeline: string;
  readonly pipeline_version: number;
};

/** The stamp of what a tried version made of an entity, or undefined. */
export async function candidateStamp(
  db: Db,
  { key, pipeline, pipeline_version }: CandidateKey,
): Promise<Deciding | undefined> {
  return await maybeOne(
    db,
    Deciding,
    `select pipeline_version, model, prompt_hash, input_hash from candidate_outputs
     where tenant_id = $1 and source_type = $2 and source_id = $3 and pipeline = $4 and pipeline_version = $5`,
    [key.tenant_id, key.source_type, key.source_id, pipeline, pipeline_version],
  );
}

const Key = z.object({ tenant_id: z.guid(), source_type: SourceType, source_id: z.guid() });

/** Which version of which pipeline. */
export type Tried = { readonly pipeline: string; readonly pipeline_version: number };

/** The next entities that a tried version made something of. */
export async function candidateKeys(db: Db, { pipeline, pipeline_version }: Tried, limit: number) {
  return await many(
    db,
    Key,
    `select tenant_id, source_type, source_id from candidate_outputs
     where pipeline = $1 and pipeline_version = $2
     order by tenant_id, source_type, source_id limit $3`,
    [pipeline, pipeline_version, limit],
  );
}

const Taken = Key.extend({
  ...Deciding.shape,
  pipeline: z.string(),
  source_version: z.int(),
  outcome: z.enum(["completed", "skipped"]),
  output: z.unknown(),
  events: z.array(Emitted),
  run_id: z.guid(),
  fingerprint: z.string().nullable(),
  /** Was something stored meanwhile of a newer version of the entity? */
  overtaken: z.boolean(),
});
export type Taken = z.infer<typeof Taken>;

/** Takes candidates out of where they are kept aside. */
export async function takeCandidates(
  db: Db,
  { pipeline, pipeline_version }: Tried,
  keys: readonly EntityKey[],
): Promise<readonly Taken[]> {
  return await many(
    db,
    Taken,
    `delete from candidate_outputs candidate
     where pipeline = $1 and pipeline_version = $2
       and (tenant_id, source_type, source_id) in (select * from unnest($3::uuid[], $4::text[], $5::uuid[]))
     returning candidate.*, exists (
       select from enrichments stored
       where stored.tenant_id = candidate.tenant_id and stored.source_type = candidate.source_type
         and stored.source_id = candidate.source_id and stored.pipeline = candidate.pipeline
         and stored.source_version > candidate.source_version
     ) as overtaken`,
    [
      pipeline,
      pipeline_version,
      keys.map(({ tenant_id }) => tenant_id),
      keys.map(({ source_type }) => source_type),
      keys.map(({ source_id }) => source_id),
    ],
  );
}

/** What it was made by. */
export function stampOfTaken(taken: Taken): Stamp {
  const { pipeline_version, model, prompt_hash, input_hash, fingerprint } = taken;
  return { pipeline_version, model, prompt_hash, input_hash, fingerprint: fingerprint ?? "" };
}

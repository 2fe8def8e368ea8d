import { z } from "zod";
import { type Db, execute, many, type Pool, transaction } from "../db.ts";
import type { Pipeline } from "../pipeline.ts";
import { promptHash } from "../store/stamps.ts";

const Recorded = z.object({
  pipeline: z.string(),
  version: z.int(),
  fingerprint: z.string(),
  prompt_hash: z.string(),
  /** The hash of each source file by its path. */
  files: z.record(z.string(), z.string()),
  first_seen: z.date(),
  last_seen: z.date(),
  /** Since when it counts as this version: the first code of a version does from the start. */
  accepted_at: z.date().nullable(),
});
export type Recorded = z.infer<typeof Recorded>;

/** The codes that were run under each version of these pipelines, the latest accepted first. */
export async function readRecorded(db: Db, names: readonly string[]): Promise<readonly Recorded[]> {
  return await many(
    db,
    Recorded,
    "select * from pipeline_versions where pipeline = any ($1) order by accepted_at desc nulls last",
    [names],
  );
}

/** Notes that this process runs these pipelines. Of two codes of one version, whichever ran first is accepted as it. */
export async function recordVersions(pool: Pool, pipelines: readonly Pipeline[]): Promise<void> {
  const seen = pipelines.filter(({ code }) => code.fingerprint !== "").map(columnsOf);
  if (seen.length === 0) return;
  await transaction(pool, async (db) => {
    // Workers start together: one of them is first.
    await db.query("lock table pipeline_versions in share row exclusive mode");
    await execute(db, recordSql, [JSON.stringify(seen)]);
  });
}

/** Says that a pipeline's code answers as its version did before. */
export async function acceptVersion(db: Db, pipeline: Pipeline): Promise<void> {
  await execute(db, acceptSql, [JSON.stringify([columnsOf(pipeline)])]);
}

function columnsOf(pipeline: Pipeline) {
  const { name, version, code } = pipeline;
  const { fingerprint, files } = code;
  return { pipeline: name, version, fingerprint, files, prompt_hash: promptHash(pipeline) };
}

const seen = `jsonb_to_recordset($1) as seen (
    pipeline text, version integer, fingerprint text, prompt_hash text, files jsonb
  )`;

// What was built is no other code than its source: each form of a version has a first code.
const recordSql = `
  insert into pipeline_versions (pipeline, version, fingerprint, prompt_hash, files, accepted_at)
  select seen.*, case when not exists (
      select from pipeline_versions known
      where known.pipeline = seen.pipeline and known.version = seen.version
        and left(known.fingerprint, 2) = left(seen.fingerprint, 2)
    ) then now() end
  from (select pipeline, version, fingerprint, prompt_hash, files from ${seen}) seen
  on conflict (pipeline, version, fingerprint) do update set last_seen = now()`;

const acceptSql = `
  insert into pipeline_versions (pipeline, version, fingerprint, prompt_hash, files, accepted_at)
  select pipeline, version, fingerprint, prompt_hash, files, now() from ${seen}
  on conflict (pipeline, version, fingerprint) do update set accepted_at = now()`;

const Unaccepted = z.object({
  pipeline: z.string(),
  version: z.int(),
  fingerprint: z.string(),
  first_seen: z.date(),
  last_seen: z.date(),
});
export type Unaccepted = z.infer<typeof Unaccepted>;

/** The pipelines whose code, as workers last ran it, changed without a new version. */
export async function listUnaccepted(db: Db): Promise<readonly Unaccepted[]> {
  return await many(
    db,
    Unaccepted,
    `select * from (
       select distinct on (pipeline) * from pipeline_versions order by pipeline, last_seen desc, first_seen desc
     ) latest
     where accepted_at is null
     order by pipeline`,
  );
}

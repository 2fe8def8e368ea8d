import { z } from "zod";
import { type Db, execute, many } from "../db.ts";
import { SourceType } from "../pipeline.ts";

const Key = z.object({ source_type: SourceType, source_id: z.guid() });
type Key = z.infer<typeof Key>;

/**
 * A walk over all that a source has: what was seen is noted beside the data, so that a tenant of any size takes no
 * memory of ours. The notes are the connection's own and go with it, so `db` must be the same one throughout.
 */
export async function beginWalk(db: Db): Promise<void> {
  await db.query(`
    create temporary table if not exists walked (
      source_type text not null, source_id uuid not null, primary key (source_type, source_id)
    )`);
  await db.query("truncate pg_temp.walked");
}

/** Notes what was seen, and says how many of these were not seen before. */
export async function noteSeen(db: Db, keys: readonly Key[]): Promise<number> {
  return await execute(
    db,
    "insert into pg_temp.walked select * from unnest($1::text[], $2::uuid[]) on conflict do nothing",
    [keys.map((key) => key.source_type), keys.map((key) => key.source_id)],
  );
}

/** A page of what the walk did not see, in key order after `last`. */
export async function readUnseen(
  db: Db,
  tenant_id: string,
  source: string,
  last: Key | undefined,
  limit: number,
): Promise<readonly Key[]> {
  return await many(
    db,
    Key,
    `select source_type, source_id from entities entity
     where ${unseen} and ($3::text is null or (source_type, source_id) > ($3, $4::uuid))
     order by source_type, source_id limit $5`,
    [tenant_id, source, last?.source_type ?? null, last?.source_id ?? null, limit],
  );
}

const unseen = `entity.tenant_id = $1 and entity.source = $2 and not exists (
  select from pg_temp.walked
  where walked.source_type = entity.source_type and walked.source_id = entity.source_id
)`;

/** Which of these entities this source gave last. They stay as they are until the transaction ends. */
export async function givenBy(
  db: Db,
  tenant_id: string,
  source: string,
  keys: readonly Key[],
): Promise<readonly Key[]> {
  return await many(
    db,
    Key,
    `select source_type, source_id from entities
     where tenant_id = $1 and source = $2
       and (source_type, source_id) in (select * from unnest($3::text[], $4::uuid[]))
     order by source_type, source_id
     for update`,
    [tenant_id, source, keys.map((key) => key.source_type), keys.map((key) => key.source_id)],
  );
}

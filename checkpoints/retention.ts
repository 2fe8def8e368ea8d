import { type Db, execute } from "../src/db.ts";

/**
 * Deletes the checkpoints of runs that ended more than `hours` ago, up to `limit` runs in one statement; waiting and
 * failed runs keep theirs.
 *
 * @returns how many checkpoints went.
 */
export async function deleteOldCheckpoints(db: Db, { hours = 24, limit = 1_000 } = {}): Promise<number> {
  return await execute(db, retentionSql, [hours, limit]);
}

const retentionSql = `
  with ended as (
    select distinct saved.thread_id
    from checkpoints saved
    join pipeline_runs run on run.id = saved.thread_id::uuid
    where run.status in ('success', 'cancelled') and run.finished_at < now() - $1 * interval '1 hour'
    limit $2
  ),
  blobs as (delete from checkpoint_blobs using ended where checkpoint_blobs.thread_id = ended.thread_id),
  writes as (delete from checkpoint_writes using ended where checkpoint_writes.thread_id = ended.thread_id)
  delete from checkpoints using ended where checkpoints.thread_id = ended.thread_id`;

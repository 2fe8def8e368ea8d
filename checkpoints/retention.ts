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

/** Deletes the checkpoints of one run: its next attempt starts over. */
export async function deleteCheckpoints(db: Db, run_id: string): Promise<void> {
  await execute(
    db,
    `with blobs as (delete from checkpoint_blobs where thread_id = $1),
     writes as (delete from checkpoint_writes where thread_id = $1)
     delete from checkpoints where thread_id = $1`,
    [run_id],
  );
}

const retentionSql = `
  with ended as (
    select distinct saved.thread_id
    from checkpoints saved
    join pipeline_runs run on run.id::text = saved.thread_id
    where run.status in ('success', 'cancelled') and run.finished_at < now() - $1 * interval '1 hour'
    limit $2
  ),
  blobs as (delete from checkpoint_blobs using ended where checkpoint_blobs.thread_id = ended.thread_id),
  writes as (delete from checkpoint_writes using ended where checkpoint_writes.thread_id = ended.thread_id)
  delete from checkpoints using ended where checkpoints.thread_id = ended.thread_id`;

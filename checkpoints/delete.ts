import { z } from "zod";
import { type Db, execute, maybeOne } from "../src/db.ts";
import { type Attempt, leaseLost } from "./attempt.ts";

/** Deletes the checkpoints of one thread: the next attempt of its run starts over. */
export async function deleteCheckpoints(db: Db, thread_id: string): Promise<void> {
  await execute(
    db,
    `with blobs as (delete from checkpoint_blobs where thread_id = $1),
     writes as (delete from checkpoint_writes where thread_id = $1)
     delete from checkpoints where thread_id = $1`,
    [thread_id],
  );
}

const Held = z.object({ id: z.guid() });

/** The same, by the attempt that holds the thread's run. Throws LEASE_LOST, and deletes nothing then. */
export async function deleteOwnCheckpoints(db: Db, { tenant_id, id, lease_token }: Attempt): Promise<void> {
  const held = await maybeOne(db, Held, deleteOwnSql, [tenant_id, id, lease_token]);
  if (held === undefined) throw leaseLost(id);
}

const deleteOwnSql = `
  with held as materialized (
    select id from pipeline_runs where tenant_id = $1 and id = $2 and lease_token = $3 for share
  ),
  blobs as (delete from checkpoint_blobs where thread_id in (select id::text from held)),
  writes as (delete from checkpoint_writes where thread_id in (select id::text from held)),
  deleted as (delete from checkpoints where thread_id in (select id::text from held))
  select id from held`;

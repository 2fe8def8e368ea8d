import type { CheckpointMetadata } from "@langchain/langgraph-checkpoint";
import { z } from "zod";
import { type Db, maybeOne } from "../src/db.ts";
import type { Rows } from "./rows.ts";
import { CheckpointSaver } from "./saver.ts";
import type { CheckpointWriter } from "./writer.ts";

const Root = z.object({ checkpoint_id: z.string(), stamp: z.string().nullable() });
export type Root = z.infer<typeof Root>;

/** A checkpoint of a thread's outermost graph, the newest where none is named, with the stamp of what made it. */
export async function findRoot(
  db: Db,
  thread_id: string,
  checkpoint_id: string | undefined,
): Promise<Root | undefined> {
  return await maybeOne(
    db,
    Root,
    `select checkpoint_id, metadata ->> 'stamp' as stamp from checkpoints
     where thread_id = $1 and checkpoint_ns = '' and ($2::text is null or checkpoint_id = $2)
     order by checkpoint_id desc
     limit 1`,
    [thread_id, checkpoint_id ?? null],
  );
}

/**
 * Copies a thread up to a checkpoint of its outermost graph into another thread. Where later ones follow, what the tasks
 * after it did is left out, so that they are done again; after the newest, what was done stays done, and what was asked
 * stays asked.
 */
export async function copyThread(
  db: Db,
  { from, upto, to }: { readonly from: string; readonly upto: string; readonly to: string },
): Promise<void> {
  await db.query(copySql, [from, upto, to]);
}

const copySql = `
  with root as materialized (
    select exists (
      select from checkpoints where thread_id = $1 and checkpoint_ns = '' and checkpoint_id > $2
    ) as is_past
  ),
  copied as (
    insert into checkpoints (thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata)
    select $3, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata
    from checkpoints, root
    where thread_id = $1 and (checkpoint_id <= $2 or not is_past)
    returning checkpoint_ns, checkpoint_id
  ),
  blobs as (
    insert into checkpoint_blobs (thread_id, checkpoint_ns, channel, version, type, blob)
    select $3, checkpoint_ns, channel, version, type, blob from checkpoint_blobs where thread_id = $1
  )
  insert into checkpoint_writes
    (thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, blob)
  select $3, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, blob
  from checkpoint_writes join copied using (checkpoint_ns, checkpoint_id), root
  where thread_id = $1 and not (is_past and checkpoint_ns = '' and checkpoint_id = $2)`;

/** The checkpointer of one fork: what it writes bears the fork's stamp, and it writes into no other thread. */
export class ForkSaver extends CheckpointSaver {
  readonly #thread_id: string;
  readonly #stamp: string;

  constructor(writer: CheckpointWriter, thread_id: string, stamp: string) {
    super(writer);
    this.#thread_id = thread_id;
    this.#stamp = stamp;
  }

  protected override noted(metadata: CheckpointMetadata) {
    return { ...metadata, stamp: this.#stamp };
  }

  protected override async write(rows: Rows): Promise<void> {
    if (rows.thread_id !== this.#thread_id)
      throw new Error(`expected to write into the fork ${this.#thread_id}, got: ${rows.thread_id}`);
    await super.write(rows);
  }
}

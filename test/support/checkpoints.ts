import type { PendingWrite } from "@langchain/langgraph-checkpoint";
import { emptyCheckpoint, uuid6 } from "@langchain/langgraph-checkpoint";
import type { AttemptSaverOptions } from "../../checkpoints/attempt-saver.ts";
import { AttemptSaver } from "../../checkpoints/attempt-saver.ts";
import type { CheckpointSaver } from "../../checkpoints/saver.ts";
import { CheckpointWriter } from "../../checkpoints/writer.ts";
import type { Pool } from "../../src/db.ts";
import type { ClaimedRun } from "../../src/ledger/run.ts";

/** Puts a checkpoint with these values, all of them new, after the checkpoint `after`. */
export async function putValues(
  saver: CheckpointSaver,
  thread_id: string,
  values: Record<string, unknown>,
  after?: string,
): Promise<string> {
  const versions = Object.fromEntries(
    Object.keys(values).map((name) => [name, saver.getNextVersion(undefined)]),
  );
  const checkpoint = {
    ...emptyCheckpoint(),
    id: uuid6(0),
    channel_values: values,
    channel_versions: versions,
  };
  const config = { configurable: { thread_id, checkpoint_ns: "", checkpoint_id: after } };
  await saver.put(config, checkpoint, { source: "loop", step: 0, parents: {} }, versions);
  return checkpoint.id;
}

/** Lets a task write into channels after a checkpoint. */
export async function putTask(
  saver: CheckpointSaver,
  thread_id: string,
  checkpoint_id: string,
  ...writes: PendingWrite[]
): Promise<void> {
  await saver.putWrites({ configurable: { thread_id, checkpoint_ns: "", checkpoint_id } }, writes, "task");
}

/** The saver of an attempt at a claimed run, as a worker makes it. */
export function saverOf(
  pool: Pool,
  run: ClaimedRun,
  options: Partial<AttemptSaverOptions> = {},
): AttemptSaver {
  return new AttemptSaver(new CheckpointWriter(pool), run, {
    stamp: "s",
    resumable: false,
    holds: true,
    ...options,
  });
}

/** How many rows the three tables hold of a thread: checkpoints, values, writes. */
export async function rowsOf(pool: Pool, thread_id: string): Promise<readonly number[]> {
  const tables = ["checkpoints", "checkpoint_blobs", "checkpoint_writes"];
  const counts = tables.map(async (table) => {
    const { rowCount } = await pool.query(`select from ${table} where thread_id = $1`, [thread_id]);
    return rowCount ?? 0;
  });
  return await Promise.all(counts);
}

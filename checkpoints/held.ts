import type { BlobRow, CheckpointRow, WriteRow } from "./rows.ts";

/**
 * What a run could lose: of each namespace the newest checkpoint, the newest value of each channel, and what tasks
 * wrote since. Whatever a newer checkpoint makes superfluous is dropped.
 */
export type Held = {
  readonly checkpoints: ReadonlyMap<string, CheckpointRow>;
  readonly blobs: ReadonlyMap<string, BlobRow>;
  readonly writes: ReadonlyMap<string, WriteRow>;
};

export const nothing: Held = { checkpoints: new Map(), blobs: new Map(), writes: new Map() };

export function isNothing({ checkpoints, blobs, writes }: Held): boolean {
  return checkpoints.size + blobs.size + writes.size === 0;
}

/** What is held once a checkpoint with the channels that it changed is put. */
export function withCheckpoint(held: Held, row: CheckpointRow, blobs: readonly BlobRow[]): Held {
  const writes = [...held.writes].filter(([, write]) => write.ns !== row.ns || write.checkpoint_id >= row.id);
  return {
    checkpoints: new Map([...held.checkpoints, [row.ns, row]]),
    blobs: new Map([...held.blobs, ...blobs.map((blob) => [channelKey(blob), blob] as const)]),
    writes: new Map(writes),
  };
}

/** What is held once a task has written. As LangGraph does, a second write of the same index counts only if it replaces. */
export function withWrites(held: Held, rows: readonly WriteRow[]): Held {
  const writes = new Map(held.writes);
  for (const row of rows) if (row.replaces || !writes.has(writeKey(row))) writes.set(writeKey(row), row);
  return { ...held, writes };
}

/** What is held where `older` could not be sent, and `newer` came meanwhile. */
export function withOlder(newer: Held, older: Held): Held {
  let held: Held = { ...older, checkpoints: older.checkpoints };
  for (const row of newer.checkpoints.values()) held = withCheckpoint(held, row, []);
  return {
    checkpoints: held.checkpoints,
    blobs: new Map([...older.blobs, ...newer.blobs]),
    writes: withWrites(held, [...newer.writes.values()]).writes,
  };
}

const channelKey = ({ ns, channel }: BlobRow) => JSON.stringify([ns, channel]);
const writeKey = ({ ns, checkpoint_id, task_id, idx }: WriteRow) =>
  JSON.stringify([ns, checkpoint_id, task_id, idx]);

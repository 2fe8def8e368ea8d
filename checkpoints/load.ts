import {
  type Checkpoint,
  type CheckpointMetadata,
  type CheckpointPendingWrite,
  type CheckpointTuple,
  maxChannelVersion,
  type SerializerProtocol,
  TASKS,
} from "@langchain/langgraph-checkpoint";
import type { Db } from "../src/db.ts";
import { type Parts, readSends, type StoredCheckpoint } from "./read.ts";

/** A stored checkpoint as LangGraph reads it. */
export async function tupleOf(
  db: Db,
  serde: SerializerProtocol,
  stored: StoredCheckpoint,
): Promise<CheckpointTuple> {
  const { thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id } = stored;
  const configOf = (id: string) => ({ configurable: { thread_id, checkpoint_ns, checkpoint_id: id } });
  const tuple: CheckpointTuple = {
    config: configOf(checkpoint_id),
    checkpoint: await checkpointOf(db, serde, stored),
    metadata: await metadataOf(serde, stored),
    pendingWrites: await writesOf(serde, stored),
  };
  return parent_checkpoint_id === null ? tuple : { ...tuple, parentConfig: configOf(parent_checkpoint_id) };
}

async function metadataOf(
  serde: SerializerProtocol,
  { metadata }: StoredCheckpoint,
): Promise<CheckpointMetadata> {
  return await serde.loadsTyped("json", JSON.stringify(metadata));
}

async function checkpointOf(
  db: Db,
  serde: SerializerProtocol,
  stored: StoredCheckpoint,
): Promise<Checkpoint> {
  const channel_values = await valuesOf(serde, stored);
  const checkpoint: Checkpoint = {
    channel_versions: {},
    versions_seen: {},
    ...stored.checkpoint,
    channel_values,
  };
  return checkpoint.v < 4 ? await withSends(db, serde, stored, checkpoint) : checkpoint;
}

/** Until its fourth format, LangGraph kept what was sent to a step beside the step before. */
async function withSends(
  db: Db,
  serde: SerializerProtocol,
  { thread_id, parent_checkpoint_id }: StoredCheckpoint,
  checkpoint: Checkpoint,
): Promise<Checkpoint> {
  if (parent_checkpoint_id === null) return checkpoint;
  const sends = await readSends(db, thread_id, parent_checkpoint_id);
  if (sends.length === 0) return checkpoint;
  const tasks = await Promise.all(sends.map(({ type, blob }) => serde.loadsTyped(type ?? "json", blob)));
  const versions = Object.values(checkpoint.channel_versions);
  const version = versions.length > 0 ? maxChannelVersion(...versions) : 1;
  return {
    ...checkpoint,
    channel_values: { ...checkpoint.channel_values, [TASKS]: tasks },
    channel_versions: { ...checkpoint.channel_versions, [TASKS]: version },
  };
}

async function valuesOf(
  serde: SerializerProtocol,
  stored: StoredCheckpoint,
): Promise<Record<string, unknown>> {
  const { value_channels: channels, value_types: types, value_sizes: sizes, value_bytes: bytes } = stored;
  const values = await loadAll(serde, { channels, types, sizes, bytes });
  return Object.fromEntries(channels.map((channel, nth) => [channel, values[nth]]));
}

async function writesOf(
  serde: SerializerProtocol,
  stored: StoredCheckpoint,
): Promise<CheckpointPendingWrite[]> {
  const { write_channels: channels, write_types: types, write_sizes: sizes, write_bytes: bytes } = stored;
  const values = await loadAll(serde, { channels, types, sizes, bytes });
  return stored.write_tasks.map((task, nth) => [task, channels[nth] ?? "", values[nth]]);
}

async function loadAll(
  serde: SerializerProtocol,
  { types, sizes, bytes }: Parts,
): Promise<readonly unknown[]> {
  const parts: Uint8Array[] = [];
  for (let start = 0; parts.length < sizes.length; ) {
    const end = start + (sizes[parts.length] ?? 0);
    parts.push(bytes.subarray(start, end));
    start = end;
  }
  return await Promise.all(parts.map((part, nth) => serde.loadsTyped(types[nth] ?? "json", part)));
}

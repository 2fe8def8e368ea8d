import type {
  ChannelVersions,
  Checkpoint,
  CheckpointMetadata,
  PendingWrite,
  SerializerProtocol,
} from "@langchain/langgraph-checkpoint";
import { WRITES_IDX_MAP } from "@langchain/langgraph-checkpoint";
import type { Attempt } from "./attempt.ts";

/** A value in LangGraph's serialisation; `empty` is a channel that holds nothing. */
export type Dumped = { readonly type: string; readonly bytes: Uint8Array | null };

export type CheckpointRow = {
  readonly ns: string;
  readonly id: string;
  readonly parent: string | null;
  /** JSON, without the channels' values: those are blobs. */
  readonly checkpoint: string;
  readonly metadata: string;
};

export type BlobRow = Dumped & { readonly ns: string; readonly channel: string; readonly version: string };

export type WriteRow = Dumped & {
  readonly ns: string;
  readonly checkpoint_id: string;
  readonly task_id: string;
  readonly task_path: string;
  readonly idx: number;
  readonly channel: string;
  /** Does it replace an earlier one of the same task and index? Errors, interrupts and answers to them do. */
  readonly replaces: boolean;
};

/** Rows of one thread that are committed together, by the attempt that holds the thread's run where there is one. */
export type Rows = {
  readonly thread_id: string;
  readonly attempt?: Attempt | undefined;
  readonly checkpoints: readonly CheckpointRow[];
  readonly blobs: readonly BlobRow[];
  readonly writes: readonly WriteRow[];
};

/** Where in a thread something is put: LangGraph's `configurable`. */
export type Place = {
  readonly thread_id: string;
  readonly ns: string;
  readonly checkpoint_id: string | undefined;
};

export async function checkpointRow(
  serde: SerializerProtocol,
  { ns, checkpoint_id }: Place,
  { channel_values: _, ...checkpoint }: Checkpoint,
  metadata: CheckpointMetadata,
): Promise<CheckpointRow> {
  return {
    ns,
    id: checkpoint.id,
    parent: checkpoint_id ?? null,
    checkpoint: JSON.stringify(checkpoint),
    metadata: await dumpMetadata(serde, metadata),
  };
}

/** As JSON that Postgres can hold: it has no NUL. */
async function dumpMetadata(serde: SerializerProtocol, metadata: CheckpointMetadata): Promise<string> {
  const [, bytes] = await serde.dumpsTyped(metadata);
  const json = new TextDecoder().decode(bytes);
  return json.includes("\\u0000") ? JSON.stringify(JSON.parse(json, withoutNul)) : json;
}

function withoutNul(_: string, value: unknown): unknown {
  return typeof value === "string" ? value.replaceAll("\0", "") : value;
}

/** The new versions of channels, each with its value where it has one. */
export async function blobRows(
  serde: SerializerProtocol,
  { ns }: Place,
  { channel_values }: Checkpoint,
  versions: ChannelVersions,
): Promise<readonly BlobRow[]> {
  const rows = Object.entries(versions).map(async ([channel, version]) => {
    const dumped = channel in channel_values ? await dump(serde, channel_values[channel]) : empty;
    return { ns, channel, version: String(version), ...dumped };
  });
  return await Promise.all(rows);
}

const empty: Dumped = { type: "empty", bytes: null };

export async function writeRows(
  serde: SerializerProtocol,
  { ns, checkpoint_id }: Place & { readonly checkpoint_id: string },
  writes: readonly PendingWrite[],
  task: { readonly id: string; readonly path: string },
): Promise<readonly WriteRow[]> {
  const replaces = writes.every(([channel]) => channel in WRITES_IDX_MAP);
  const rows = writes.map(async ([channel, value], nth) => ({
    ns,
    checkpoint_id,
    task_id: task.id,
    task_path: task.path,
    idx: WRITES_IDX_MAP[channel] ?? nth,
    channel,
    replaces,
    ...(await dump(serde, value)),
  }));
  return await Promise.all(rows);
}

async function dump(serde: SerializerProtocol, value: unknown): Promise<Dumped> {
  const [type, bytes] = await serde.dumpsTyped(value);
  // Bytes come back as they were given: a copy, since a node may go on writing into them.
  return { type, bytes: bytes === value ? new Uint8Array(bytes) : bytes };
}

/** How much these rows weigh, in bytes, more or less. */
export function weightOf({ checkpoints, blobs, writes }: Rows): number {
  const dumped = [...blobs, ...writes].reduce((sum, { bytes }) => sum + (bytes?.length ?? 0) + 100, 0);
  return checkpoints.reduce(
    (sum, { checkpoint, metadata }) => sum + checkpoint.length + metadata.length,
    dumped,
  );
}

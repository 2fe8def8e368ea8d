import { z } from "zod";
import { type Db, many } from "../src/db.ts";

/** Which checkpoints are asked for, newest first; what is left out does not matter. */
export type Asked = {
  readonly thread_id?: string | undefined;
  readonly ns?: string | undefined;
  readonly checkpoint_id?: string | undefined;
  /** Only those that are older than the checkpoint of this id. */
  readonly before?: string | undefined;
  /** What their metadata contain. */
  readonly filter?: Readonly<Record<string, unknown>> | undefined;
  /** Go on after this one. */
  readonly after?: Pick<StoredCheckpoint, "checkpoint_id" | "thread_id" | "checkpoint_ns"> | undefined;
  readonly limit: number;
};

const Parts = z.object({
  channels: z.array(z.string()),
  types: z.array(z.string().nullable()),
  sizes: z.array(z.int()),
  bytes: z.instanceof(Buffer),
});

/** Values that were read in one piece, `bytes`, each as long as `sizes` says. */
export type Parts = z.infer<typeof Parts>;

const Values = z.object({
  value_channels: Parts.shape.channels,
  value_types: Parts.shape.types,
  value_sizes: Parts.shape.sizes,
  value_bytes: Parts.shape.bytes,
});
const Writes = z.object({
  write_tasks: z.array(z.string()),
  write_channels: Parts.shape.channels,
  write_types: Parts.shape.types,
  write_sizes: Parts.shape.sizes,
  write_bytes: Parts.shape.bytes,
});

const StoredCheckpoint = z.object({
  thread_id: z.string(),
  checkpoint_ns: z.string(),
  checkpoint_id: z.string(),
  parent_checkpoint_id: z.string().nullable(),
  checkpoint: z.looseObject({ v: z.number(), id: z.string(), ts: z.string() }),
  metadata: z.record(z.string(), z.unknown()),
  ...Values.shape,
  ...Writes.shape,
});
export type StoredCheckpoint = z.infer<typeof StoredCheckpoint>;

/** Checkpoints with the values of their channels and what tasks wrote after them. */
export async function readCheckpoints(db: Db, asked: Asked): Promise<readonly StoredCheckpoint[]> {
  const { sql, values } = statementOf(asked);
  return await many(db, StoredCheckpoint, sql, values);
}

/** A statement for just what is asked, so that Postgres plans it for the index that this leaves. */
function statementOf({ thread_id, ns, checkpoint_id, before, filter, after, limit }: Asked) {
  const values: unknown[] = [];
  const value = (given: unknown) => `$${values.push(given)}`;
  const conditions: string[] = [];
  if (thread_id !== undefined) conditions.push(`cp.thread_id = ${value(thread_id)}`);
  if (ns !== undefined) conditions.push(`cp.checkpoint_ns = ${value(ns)}`);
  if (checkpoint_id !== undefined) conditions.push(`cp.checkpoint_id = ${value(checkpoint_id)}`);
  if (before !== undefined) conditions.push(`cp.checkpoint_id < ${value(before)}`);
  if (filter !== undefined) conditions.push(`cp.metadata @> ${value(JSON.stringify(filter))}::jsonb`);
  if (after !== undefined) {
    const last = [after.checkpoint_id, after.thread_id, after.checkpoint_ns].map(value).join(", ");
    conditions.push(`(cp.checkpoint_id, cp.thread_id, cp.checkpoint_ns) < (${last})`);
  }
  const where = conditions.length > 0 ? `where ${conditions.join(" and ")}` : "";
  return { sql: selectSql(where, value(limit)), values };
}

/** By code point, as LangGraph compares them. */
const writesOrder = `task_path collate "C", task_id collate "C", idx`;

// The page is found before its values are read. Writes are in the order in which a running graph applies them.
const selectSql = (where: string, limit: string) => `
  with page as materialized (
    select cp.thread_id, cp.checkpoint_ns, cp.checkpoint_id, cp.parent_checkpoint_id, cp.checkpoint, cp.metadata
    from checkpoints cp
    ${where}
    order by cp.checkpoint_id desc, cp.thread_id desc, cp.checkpoint_ns desc
    limit ${limit}
  )
  select page.*, held.*, written.*
  from page
  cross join lateral (
    select coalesce(array_agg(blob.channel order by blob.channel), '{}') as value_channels,
      coalesce(array_agg(blob.type order by blob.channel), '{}') as value_types,
      coalesce(array_agg(octet_length(blob.blob) order by blob.channel), '{}') as value_sizes,
      coalesce(string_agg(blob.blob, ''::bytea order by blob.channel), '') as value_bytes
    from jsonb_each_text(page.checkpoint -> 'channel_versions') as version (channel, version)
    join checkpoint_blobs blob on blob.thread_id = page.thread_id and blob.checkpoint_ns = page.checkpoint_ns
      and blob.channel = version.channel and blob.version = version.version
    where blob.type <> 'empty' and blob.blob is not null
  ) held
  cross join lateral (
    select coalesce(array_agg(task_id order by ${writesOrder}), '{}') as write_tasks,
      coalesce(array_agg(channel order by ${writesOrder}), '{}') as write_channels,
      coalesce(array_agg(type order by ${writesOrder}), '{}') as write_types,
      coalesce(array_agg(octet_length(blob) order by ${writesOrder}), '{}') as write_sizes,
      coalesce(string_agg(blob, ''::bytea order by ${writesOrder}), '') as write_bytes
    from checkpoint_writes
    where thread_id = page.thread_id and checkpoint_ns = page.checkpoint_ns and checkpoint_id = page.checkpoint_id
  ) written
  order by page.checkpoint_id desc, page.thread_id desc, page.checkpoint_ns desc`;

const Send = z.object({ type: z.string().nullable(), blob: z.instanceof(Buffer) });
export type Send = z.infer<typeof Send>;

/** What tasks sent from a checkpoint, in order: checkpoints before LangGraph's fourth format keep it with their parent. */
export async function readSends(db: Db, thread_id: string, checkpoint_id: string): Promise<readonly Send[]> {
  return await many(
    db,
    Send,
    `select type, blob from checkpoint_writes
     where thread_id = $1 and checkpoint_id = $2 and channel = '__pregel_tasks'
     order by ${writesOrder}`,
    [thread_id, checkpoint_id],
  );
}

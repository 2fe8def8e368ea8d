import { z } from "zod";
import { type Db, many } from "../src/db.ts";
import type { Attempt } from "./attempt.ts";
import type { BlobRow, CheckpointRow, Dumped, Rows, WriteRow } from "./rows.ts";

/**
 * Writes rows of several threads in one statement, so that one round trip and one commit serve all of them. A thread
 * whose attempt has lost its lease is left out. No thread comes with two attempts.
 *
 * @returns the threads that were written.
 */
export async function writeRowsOf(db: Db, threads: readonly Rows[]): Promise<ReadonlySet<string>> {
  const fenced = threads.some(({ attempt }) => attempt !== undefined);
  const columns = columnsOf(threads);
  const written = fenced
    ? await many(db, Written, fencedSql, [...leasesOf(threads), ...columns])
    : await many(db, Written, { name: "write-checkpoints", text: openSql }, columns);
  return new Set(written.map(({ thread_id }) => thread_id));
}

const Written = z.object({ thread_id: z.string() });

function leasesOf(threads: readonly Rows[]): readonly unknown[] {
  const held = new Map(threads.flatMap(({ attempt }) => (attempt ? [[attempt.lease_token, attempt]] : [])));
  const attempts = [...held.values()];
  const column = (name: keyof Attempt) => attempts.map((attempt) => attempt[name]);
  return [column("tenant_id"), column("id"), column("lease_token")];
}

type Of<Row> = Row & { readonly thread_id: string };

/** The rows as columns. The bytes of all of them travel as one binary value, of which each row names its part. */
function columnsOf(threads: readonly Rows[]): readonly unknown[] {
  const open = new Set(threads.flatMap(({ attempt, thread_id }) => (attempt ? [] : [thread_id])));
  const checkpoints = lastOfEach(rowsOf(threads, "checkpoints"), checkpointKey);
  const blobs = firstOfEach(rowsOf(threads, "blobs"), blobKey);
  const writesOf = rowsOf(threads, "writes");
  const kept = firstOfEach(
    writesOf.filter(({ replaces }) => !replaces),
    writeKey,
  );
  const replacing = lastOfEach(
    writesOf.filter(({ replaces }) => replaces),
    writeKey,
  );
  const writes = [...kept, ...replacing];
  const bytes = new Bytes();
  const blobParts = blobs.map((blob) => bytes.add(blob));
  const writeParts = writes.map((write) => bytes.add(write));
  return [
    [...open],
    ...columns(checkpoints, ["thread_id", "ns", "id", "parent", "checkpoint", "metadata"]),
    ...columns(blobs, ["thread_id", "ns", "channel", "version", "type"]),
    ...columns(blobParts, ["start", "size"]),
    ...columns(writes, [
      "thread_id",
      "ns",
      "checkpoint_id",
      "task_id",
      "task_path",
      "idx",
      "channel",
      "type",
    ]),
    ...columns(writes, ["replaces"]),
    ...columns(writeParts, ["start", "size"]),
    bytes.whole(),
  ];
}

function columns<Row>(rows: readonly Row[], names: readonly (keyof Row)[]): readonly unknown[] {
  return names.map((name) => rows.map((row) => row[name]));
}

/** All rows of one kind, in the order in which they came, each with its thread. */
function rowsOf<Kind extends "checkpoints" | "blobs" | "writes">(
  threads: readonly Rows[],
  kind: Kind,
): readonly Of<Rows[Kind][number]>[] {
  return threads.flatMap(({ thread_id, [kind]: rows }) => rows.map((row) => ({ ...row, thread_id })));
}

/** Of rows with the same key the last: one statement cannot touch a row twice. */
function lastOfEach<Row>(rows: readonly Row[], keyOf: (row: Row) => string): readonly Row[] {
  return [...new Map(rows.map((row) => [keyOf(row), row])).values()];
}

function firstOfEach<Row>(rows: readonly Row[], keyOf: (row: Row) => string): readonly Row[] {
  return lastOfEach(rows.toReversed(), keyOf);
}

const checkpointKey = ({ thread_id, ns, id }: Of<CheckpointRow>) => JSON.stringify([thread_id, ns, id]);
const blobKey = ({ thread_id, ns, channel, version }: Of<BlobRow>) =>
  JSON.stringify([thread_id, ns, channel, version]);
const writeKey = ({ thread_id, ns, checkpoint_id, task_id, idx }: Of<WriteRow>) =>
  JSON.stringify([thread_id, ns, checkpoint_id, task_id, idx]);

/** Bytes laid end to end. */
class Bytes {
  readonly #parts: Uint8Array[] = [];
  #size = 0;

  /** @returns where they lie, from 1 on as Postgres counts; of nothing, the size is null. */
  add({ bytes }: Dumped): { readonly start: number; readonly size: number | null } {
    if (bytes === null) return { start: 1, size: null };
    const start = this.#size + 1;
    this.#parts.push(bytes);
    this.#size += bytes.length;
    return { start, size: bytes.length };
  }

  whole(): Buffer {
    return Buffer.concat(this.#parts, this.#size);
  }
}

/**
 * A statement whose parameters begin after `$from`. The bytes stand in it once: planning it copies them for each place
 * at which they stand, which with large states costs more than writing them.
 */
const insertSql = (from: number) => {
  const $ = (nth: number) => `$${from + nth}`;
  const writes = (replaces: string) => `
    select given.thread_id, ns, checkpoint_id, task_id, task_path, idx, channel, type, substring(whole from start for size)
    from bytes, unnest(
      ${$(15)}::text[], ${$(16)}::text[], ${$(17)}::text[], ${$(18)}::text[], ${$(19)}::text[], ${$(20)}::integer[],
      ${$(21)}::text[], ${$(22)}::text[], ${$(23)}::boolean[], ${$(24)}::integer[], ${$(25)}::integer[]
    ) as given (thread_id, ns, checkpoint_id, task_id, task_path, idx, channel, type, replaces, start, size)
    join writable using (thread_id)
    where ${replaces}
    order by given.thread_id, ns, checkpoint_id, task_id, idx`;
  return `
  bytes as materialized (select ${$(26)}::bytea as whole),
  checkpoint as (
    insert into checkpoints (thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, checkpoint, metadata)
    select given.thread_id, ns, id, parent, checkpoint, metadata
    from unnest(
      ${$(2)}::text[], ${$(3)}::text[], ${$(4)}::text[], ${$(5)}::text[], ${$(6)}::jsonb[], ${$(7)}::jsonb[]
    ) as given (thread_id, ns, id, parent, checkpoint, metadata)
    join writable using (thread_id)
    order by given.thread_id, ns, id
    on conflict (thread_id, checkpoint_ns, checkpoint_id)
    do update set checkpoint = excluded.checkpoint, metadata = excluded.metadata
  ),
  blob as (
    insert into checkpoint_blobs (thread_id, checkpoint_ns, channel, version, type, blob)
    select given.thread_id, ns, channel, version, type, substring(whole from start for size)
    from bytes, unnest(
      ${$(8)}::text[], ${$(9)}::text[], ${$(10)}::text[], ${$(11)}::text[], ${$(12)}::text[], ${$(13)}::integer[],
      ${$(14)}::integer[]
    ) as given (thread_id, ns, channel, version, type, start, size)
    join writable using (thread_id)
    order by given.thread_id, ns, channel, version
    on conflict do nothing
  ),
  kept as (
    insert into checkpoint_writes
      (thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, blob)
    ${writes("not replaces")}
    on conflict do nothing
  ),
  replaced as (
    insert into checkpoint_writes
      (thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, blob)
    ${writes("replaces")}
    on conflict (thread_id, checkpoint_ns, checkpoint_id, task_id, idx)
    do update set channel = excluded.channel, type = excluded.type, blob = excluded.blob
  )
  select thread_id from writable`;
};

const openSql = `
  with writable as materialized (select thread_id from unnest($1::text[]) as given (thread_id)),
  ${insertSql(0)}`;

// Planned anew each time: a plan that was made while there were few runs would read all of them when there are many.
// A share lock on the run: whoever takes its lease away waits until the rows are committed, so there is no gap between
// the check and the write. Sorted, so that two processes that lock the same runs do it in the same order.
const fencedSql = `
  with held as materialized (
    select run.id::text as thread_id
    from (
      select * from unnest($1::uuid[], $2::uuid[], $3::uuid[]) as given (tenant_id, id, lease_token)
      order by tenant_id, id
    ) given
    cross join lateral (
      select run.id from pipeline_runs run
      where run.tenant_id = given.tenant_id and run.id = given.id and run.lease_token = given.lease_token
      for share
    ) run
  ),
  writable as materialized (
    select thread_id from held
    union all
    select thread_id from unnest($4::text[]) as given (thread_id)
  ),
  ${insertSql(3)}`;

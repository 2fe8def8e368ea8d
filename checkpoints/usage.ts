import { z } from "zod";
import { type Db, many } from "../src/db.ts";
import { type Keeping, unknownKeepHours } from "./retention.ts";

const count = z.coerce.number();

const Usage = z.object({
  /** Threads that have checkpoints, those of forks among them. */
  runs: count,
  /** Of those, forks. */
  forks: count,
  checkpoints: count,
  /** Values of channels. */
  blobs: count,
  /** What tasks wrote. */
  writes: count,
  /** As stored, compressed where Postgres did that; without indexes. */
  bytes: count,
});

const PipelineUsage = Usage.extend({
  /** Null where no run has the thread: somebody else's, or a run that is gone. Nothing deletes those. */
  pipeline: z.string().nullable(),
  /** Of runs that ended longer ago than their pipeline keeps them: the next walk frees them. */
  due_bytes: count,
  /** Of runs that ended, and are kept a while. */
  kept_bytes: count,
  /** Of runs that are open or failed: they stay until those have succeeded or are cancelled. */
  open_bytes: count,
});
export type PipelineUsage = z.infer<typeof PipelineUsage>;

/** What checkpoints take up, by pipeline, the most first. It reads all of them: 1 s for a million rows. */
export async function usageByPipeline(
  db: Db,
  pipelines: readonly Keeping[],
): Promise<readonly PipelineUsage[]> {
  return await many(db, PipelineUsage, byPipelineSql, keepingColumns(pipelines));
}

const RunUsage = Usage.omit({ runs: true, forks: true }).extend({
  thread_id: z.string(),
  pipeline: z.string().nullable(),
  status: z.string().nullable(),
  finished_at: z.date().nullable(),
  /** When the next walk may free them; null where nothing will as long as the run is as it is. */
  due_at: z.date().nullable(),
});
export type RunUsage = z.infer<typeof RunUsage>;

/** The runs whose checkpoints take up the most. */
export async function largestRuns(
  db: Db,
  pipelines: readonly Keeping[],
  { limit, pipeline }: { readonly limit: number; readonly pipeline?: string | undefined },
): Promise<readonly RunUsage[]> {
  return await many(db, RunUsage, byRunSql, [...keepingColumns(pipelines), limit, pipeline ?? null]);
}

function keepingColumns(pipelines: readonly Keeping[]): readonly unknown[] {
  return [pipelines.map(({ name }) => name), pipelines.map(({ keepHours }) => keepHours), unknownKeepHours];
}

const part = (table: string, kind: string, columns: readonly string[]) => {
  const size = columns.map((column) => `coalesce(pg_column_size(${column}), 0)`).join(" + ");
  const counts = ["checkpoints", "blobs", "writes"].map(
    (name) => `${name === kind ? "count(*)" : 0} as ${name}`,
  );
  return `
    select thread_id, ${counts.join(", ")}, sum(24 + ${size}) as bytes
    from ${table}
    group by thread_id`;
};

/** Each thread with what it takes up and the run that it belongs to. A row's head is 24 bytes. */
const threads = `
  thread as (
    select thread_id, sum(checkpoints) as checkpoints, sum(blobs) as blobs, sum(writes) as writes, sum(bytes) as bytes
    from (
      ${part("checkpoints", "checkpoints", ["thread_id", "checkpoint_ns", "checkpoint_id", "parent_checkpoint_id", "checkpoint", "metadata"])}
      union all
      ${part("checkpoint_blobs", "blobs", ["thread_id", "checkpoint_ns", "channel", "version", "type", "blob"])}
      union all
      ${part("checkpoint_writes", "writes", ["thread_id", "checkpoint_ns", "checkpoint_id", "task_id", "task_path", "channel", "type", "blob"])}
    ) part
    group by thread_id
  ),
  owned as (
    select thread.*, coalesce(run.pipeline, fork.pipeline) as pipeline, fork.id is not null as is_fork,
      case when fork.id is null then run.status else 'fork' end as status, run.finished_at,
      case
        when fork.id is not null then fork.expires_at
        when run.status in ('success', 'cancelled') then
          run.finished_at + coalesce(keep.hours, $3) * interval '1 hour'
      end as due_at
    from thread
    left join pipeline_runs run on run.id::text = thread.thread_id
    left join forks fork on fork.id::text = thread.thread_id
    left join unnest($1::text[], $2::double precision[]) as keep (pipeline, hours) on keep.pipeline = run.pipeline
  )`;

const byPipelineSql = `
  with ${threads}
  select pipeline, count(*) as runs, count(*) filter (where is_fork) as forks, sum(checkpoints) as checkpoints, sum(blobs) as blobs, sum(writes) as writes,
    sum(bytes) as bytes,
    coalesce(sum(bytes) filter (where due_at < now()), 0) as due_bytes,
    coalesce(sum(bytes) filter (where due_at >= now()), 0) as kept_bytes,
    coalesce(sum(bytes) filter (where due_at is null), 0) as open_bytes
  from owned
  group by pipeline
  order by bytes desc, pipeline`;

const byRunSql = `
  with ${threads}
  select thread_id, pipeline, status, finished_at, due_at, checkpoints, blobs, writes, bytes
  from owned
  where $5::text is null or pipeline = $5
  order by bytes desc, thread_id
  limit $4`;

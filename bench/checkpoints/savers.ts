import { randomUUID } from "node:crypto";
import { type BaseCheckpointSaver, MemorySaver } from "@langchain/langgraph-checkpoint";
import { PostgresSaver } from "@langchain/langgraph-checkpoint-postgres";
import { AttemptSaver } from "../../checkpoints/attempt-saver.ts";
import { CheckpointSaver } from "../../checkpoints/saver.ts";
import { CheckpointWriter } from "../../checkpoints/writer.ts";
import type { Pool } from "../../src/db.ts";

export type Durability = "sync" | "async" | "exit";

/** One run's checkpointer, and what follows when its graph has ended. */
export type Lent = { readonly saver: BaseCheckpointSaver | false; end(): void };

export type Contender = {
  readonly name: string;
  /** Made anew for each round: savers for the runs of these threads. */
  open(pool: Pool, durability: Durability): (thread: Thread) => Lent;
};

/** A run that is held under a lease, as a worker holds it. */
export type Thread = { readonly tenant_id: string; readonly id: string; readonly lease_token: string };

const shared = (saver: BaseCheckpointSaver | false) => () => ({ saver, end: () => {} });

/** Each as its users would have it: one for all runs of a process, but for a worker's, which is one an attempt. */
export const contenders: readonly Contender[] = [
  { name: "none", open: () => shared(false) },
  { name: "MemorySaver", open: () => shared(new MemorySaver()) },
  {
    name: "PostgresSaver",
    open: (pool) => shared(new PostgresSaver(pool, undefined, { schema: "loregraph" })),
  },
  { name: "ours", open: (pool) => shared(new CheckpointSaver(new CheckpointWriter(pool))) },
  { name: "ours, in a worker", open: inWorker },
];

function inWorker(pool: Pool, durability: Durability): (thread: Thread) => Lent {
  const writer = new CheckpointWriter(pool);
  return (thread) => {
    const holds = durability === "async";
    const saver = new AttemptSaver(writer, thread, { stamp: "bench", resumable: false, holds });
    return { saver, end: () => saver.stop() };
  };
}

/** Runs that are held under leases, for fenced writes. */
export async function makeThreads(pool: Pool, count: number): Promise<readonly Thread[]> {
  const tenant_id = randomUUID();
  const { rows } = await pool.query(
    `insert into pipeline_runs (tenant_id, source_type, source_id, source_version, pipeline, status, max_attempts,
       lease_token, lease_expires_at, worker, started_at)
     select $1, 'scene', gen_random_uuid(), 1, 'bench', 'running', 3, gen_random_uuid(), now() + interval '1 hour', 'bench', now()
     from generate_series(1, $2)
     returning tenant_id, id, lease_token`,
    [tenant_id, count],
  );
  return rows;
}

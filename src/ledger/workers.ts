import { z } from "zod";
import { type Db, execute, many } from "../db.ts";

export type WorkerNote = {
  readonly worker: string;
  readonly pipelines: readonly string[];
  readonly concurrency: number;
};

/** Notes that a worker lives; one that was not heard of for an hour is forgotten. */
export async function noteWorker(db: Db, { worker, pipelines, concurrency }: WorkerNote): Promise<void> {
  await execute(
    db,
    `with silent as (delete from workers where seen_at < now() - interval '1 hour' and worker <> $1)
     insert into workers (worker, pipelines, concurrency) values ($1, $2, $3)
     on conflict (worker) do update set seen_at = now()`,
    [worker, pipelines, concurrency],
  );
}

export async function forgetWorker(db: Db, worker: string): Promise<void> {
  await execute(db, "delete from workers where worker = $1", [worker]);
}

const LiveWorker = z.object({
  worker: z.string(),
  pipelines: z.array(z.string()),
  concurrency: z.int(),
  started_at: z.date(),
  seen_at: z.date(),
});
export type LiveWorker = z.infer<typeof LiveWorker>;

/** The workers that run graphs and were heard of in the last minute; those that deliver are not among them. */
export async function listWorkers(db: Db): Promise<readonly LiveWorker[]> {
  return await many(
    db,
    LiveWorker,
    `select * from workers
     where seen_at > now() - interval '1 minute' and not ('webhook:%' = any (pipelines))
     order by started_at`,
  );
}

/** Of a worker's slots, those that no reingest may fill, so that whoever changes something finds one: one in eight. */
export function keptFree(concurrency: number): number {
  return concurrency > 1 ? Math.ceil(concurrency / 8) : 0;
}

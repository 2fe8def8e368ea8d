import { z } from "zod";
import { type Db, execute, many, maybeOne, one } from "../db.ts";
import { noUsage, SourceType, type Usage } from "../pipeline.ts";
import { Deciding } from "../store/stamps.ts";

const figure = z.number();
const Figures = z.object({
  model_calls: figure,
  embedding_calls: figure,
  tokens_in: figure,
  tokens_cached: figure,
  tokens_out: figure,
  embedding_tokens: figure,
  vectors_reused: figure,
  cost_usd: figure,
}) satisfies z.ZodType<Usage>;

const Stamp = Deciding.extend({
  /** Of the graph's code; empty where nobody noted it. */
  fingerprint: z.string(),
});

/** What a person made of a run's state: a thread of its own, which stores nothing unless it is promoted. */
export const Fork = z.object({
  tenant_id: z.guid(),
  /** Its thread's, too. */
  id: z.guid(),
  run_id: z.guid(),
  checkpoint_id: z.string(),
  pipeline: z.string(),
  source_type: SourceType,
  source_id: z.guid(),
  source_version: z.int(),
  stamp: Stamp,
  made_by: z.string(),
  status: z.enum(["open", "promoted", "dropped", "expired"]),
  /** What its runs used of models. */
  usage: Figures,
  created_at: z.date(),
  /** When its checkpoints go; null once they are gone. */
  expires_at: z.date().nullable(),
  promoted_at: z.date().nullable(),
  promoted_run_id: z.guid().nullable(),
});
export type Fork = z.infer<typeof Fork>;

export type NewFork = Pick<
  Fork,
  | "tenant_id"
  | "run_id"
  | "checkpoint_id"
  | "pipeline"
  | "source_type"
  | "source_id"
  | "source_version"
  | "stamp"
  | "made_by"
> & { readonly keepHours: number };

/** Where a pipeline keeps no checkpoints of what has ended, a fork is still kept for an hour: somebody works on it. */
const leastHours = 1;

export async function insertFork(db: Db, fork: NewFork): Promise<Fork> {
  return await one(db, Fork, insertSql, [
    fork.tenant_id,
    fork.run_id,
    fork.checkpoint_id,
    fork.pipeline,
    fork.source_type,
    fork.source_id,
    fork.source_version,
    JSON.stringify(fork.stamp),
    fork.made_by,
    JSON.stringify(noUsage),
    Math.max(leastHours, fork.keepHours),
  ]);
}

const insertSql = `
  insert into forks (tenant_id, run_id, checkpoint_id, pipeline, source_type, source_id, source_version, stamp, made_by,
    usage, expires_at)
  values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, now() + $11 * interval '1 hour')
  returning *`;

/** A fork by its id alone, of the tenant where one is named. It reads all of them: people make them, so there are few. */
export async function findFork(
  db: Db,
  id: string,
  tenant_id?: string | undefined,
): Promise<Fork | undefined> {
  return await maybeOne(
    db,
    Fork,
    "select * from forks where id = $1 and ($2::uuid is null or tenant_id = $2) limit 1",
    [id, tenant_id ?? null],
  );
}

export type ForkFilter = {
  readonly tenant_id?: string | undefined;
  readonly run_id?: string | undefined;
  readonly limit: number;
};

/** The newest forks, newest first. */
export async function listForks(db: Db, { tenant_id, run_id, limit }: ForkFilter): Promise<readonly Fork[]> {
  return await many(
    db,
    Fork,
    `select * from forks
     where ($1::uuid is null or tenant_id = $1) and ($2::uuid is null or run_id = $2)
     order by id desc limit $3`,
    [tenant_id ?? null, run_id ?? null, limit],
  );
}

/** Adds what a run of an open fork used, and keeps its checkpoints for as long again. */
export async function noteUse(
  db: Db,
  { tenant_id, id, usage }: Fork,
  more: Usage,
  keepHours: number,
): Promise<void> {
  const names = Object.keys(noUsage) as (keyof Usage)[];
  const summed = Object.fromEntries(names.map((name) => [name, usage[name] + more[name]]));
  await execute(
    db,
    `update forks set usage = $3, expires_at = now() + $4 * interval '1 hour'
     where tenant_id = $1 and id = $2 and status = 'open'`,
    [tenant_id, id, JSON.stringify(summed), Math.max(leastHours, keepHours)],
  );
}

/** Locks an open fork until the transaction ends; undefined where it is not open, or there is none. */
export async function lockOpenFork(
  db: Db,
  { tenant_id, id }: Pick<Fork, "tenant_id" | "id">,
): Promise<Fork | undefined> {
  return await maybeOne(
    db,
    Fork,
    "select * from forks where tenant_id = $1 and id = $2 and status = 'open' for update",
    [tenant_id, id],
  );
}

/** Notes that a fork became a run; its checkpoints go when they would have. */
export async function notePromotion(
  db: Db,
  { tenant_id, id }: Pick<Fork, "tenant_id" | "id">,
  run_id: string,
): Promise<void> {
  await execute(
    db,
    `update forks set status = 'promoted', promoted_at = now(), promoted_run_id = $3
     where tenant_id = $1 and id = $2`,
    [tenant_id, id, run_id],
  );
}

/** @returns whether it was open. What a run of it still writes goes with the next walk over old checkpoints. */
export async function dropFork(db: Db, { tenant_id, id }: Pick<Fork, "tenant_id" | "id">): Promise<boolean> {
  const dropped = await execute(
    db,
    "update forks set status = 'dropped', expires_at = now() where tenant_id = $1 and id = $2 and status = 'open'",
    [tenant_id, id],
  );
  return dropped > 0;
}

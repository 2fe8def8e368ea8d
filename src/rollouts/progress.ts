import { z } from "zod";
import { type Db, one } from "../db.ts";
import { triedName } from "../ledger/tried.ts";
import { listRollouts, type Rollout } from "../store/rollouts.ts";
import { diffVersions } from "./diff.ts";

const count = z.coerce.number();

const Runs = z.object({
  done: count,
  unchanged: count,
  failed: count,
  cancelled: count,
  open: count,
  cost_usd: count,
  tokens: count,
});

/** A rollout with how far it is, what it has cost, and how far the two versions agree. */
export type RolloutProgress = Rollout & {
  readonly runs: z.infer<typeof Runs>;
  /** Outputs that are kept aside. */
  readonly candidates: number;
  /** The part of the compared outputs that are equal; null where there is nothing to compare. */
  readonly agreement: number | null;
};

export async function rolloutProgress(db: Db, pipeline?: string): Promise<readonly RolloutProgress[]> {
  const progress: RolloutProgress[] = [];
  for (const rollout of await listRollouts(db, pipeline)) progress.push(await progressOf(db, rollout));
  return progress;
}

async function progressOf(db: Db, rollout: Rollout): Promise<RolloutProgress> {
  const { pipeline, from_version: from, to_version: to } = rollout;
  const runs = await one(db, Runs, runsSql, [
    triedName({ name: pipeline, version: to }),
    rollout.started_at,
    rollout.ended_at,
  ]);
  const diff =
    rollout.ended_at === null ? await diffVersions(db, { pipeline, from, to, limit: 0 }) : undefined;
  const candidates = diff ? diff.pairs + diff.uncompared : 0;
  return { ...rollout, runs, candidates, agreement: diff && diff.pairs > 0 ? diff.equal / diff.pairs : null };
}

const runsSql = `
  select count(*) filter (where status = 'success' and outcome <> 'duplicate_skipped') as done,
    count(*) filter (where outcome = 'duplicate_skipped') as unchanged,
    count(*) filter (where status = 'failed') as failed,
    count(*) filter (where status = 'cancelled') as cancelled,
    count(*) filter (where status in ('pending', 'running', 'waiting')) as open,
    coalesce(sum(cost_usd), 0) as cost_usd,
    coalesce(sum(tokens_in + tokens_out), 0) as tokens
  from pipeline_runs
  where pipeline = $1 and created_at >= $2::timestamptz - interval '1 second'
    and ($3::timestamptz is null or created_at <= $3)`;

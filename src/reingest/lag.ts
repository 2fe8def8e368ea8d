import { z } from "zod";
import { type Db, one } from "../db.ts";
import { isHeld } from "../ledger/budgets.ts";

const openRuns = `
  select from pipeline_runs run
  where run.tenant_id = r.tenant_id and run.reingest_id = r.id and run.status in ('pending', 'running', 'waiting')`;

const Lag = z.object({ reingests: z.coerce.number(), undecided: z.coerce.number() });
export type Lag = z.infer<typeof Lag>;

/** How many reingests run, and about how many pairs of entity and pipeline their producers have yet to decide. */
export async function readLag(db: Db): Promise<Lag> {
  return await one(
    db,
    Lag,
    `select count(*) as reingests,
       coalesce(sum(greatest(0, total - skipped - enqueued - coalesce((cursor ->> 'follows')::bigint, 0)))
         filter (where produced_at is null), 0) as undecided
     from reingests where status in ('planned', 'running')`,
  );
}

/**
 * Is there a reingest that goes on by itself, where these pipelines are run? Not one that is held back, nor one that has
 * nothing left but runs that wait: for a person, a spent budget, or a pipeline that is paused or run elsewhere.
 */
export async function hasReingestsThatGoOn(db: Db, pipelines: readonly string[]): Promise<boolean> {
  const { open } = await one(
    db,
    z.object({ open: z.boolean() }),
    `select exists (
       select from reingests r
       where status in ('planned', 'running') and not exists (
         select from tenant_controls c where c.tenant_id = r.tenant_id and c.paused_at is not null
       )
       and (produced_at is null or not exists (${openRuns}) or exists (${openRuns}
         and status in ('pending', 'running') and pipeline = any ($1) and not exists (
           select from pipeline_controls c where c.pipeline = run.pipeline and c.paused_at is not null
         ) and not ${isHeld("run")}
       ))
     ) as open`,
    [pipelines],
  );
  return open;
}

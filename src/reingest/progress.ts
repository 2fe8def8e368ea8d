import { z } from "zod";
import { type Db, many, one } from "../db.ts";
import { type Reingest, type ReingestKey, readReingest, startingPlace, Trouble } from "./reingest.ts";
import { hasEnded, ReingestStatus } from "./states.ts";
import { endedIn, type PipelineTally, sumOf, talliesOf } from "./tallies.ts";

const count = z.int().nonnegative();

/** How far a reingest is. `total` never grows, and neither `settled` nor any way in which runs end ever falls. */
export const Progress = z.object({
  tenant_id: z.guid(),
  id: z.guid(),
  status: ReingestStatus,
  total: count.describe("Pairs of entity and pipeline"),
  settled: count.describe("Pairs of the total that are unchanged or have ended; equals it when completed"),
  done: count.describe("Runs that ended well"),
  skipped: count.describe("Pairs found unchanged, or wanted by somebody else too"),
  failed: count.describe("Runs that became dead letters"),
  cancelled: count,
  running: count,
  pending: count,
  waiting: count.describe("Runs that ask a person"),
  follow_on: z
    .record(z.string(), z.object({ ended: count, open: count }))
    .describe("Runs that others caused, by pipeline; among those above"),
  rejected: count.describe("Entities that the source told in a way that cannot be taken in"),
  tokens: count,
  cost_usd: z.number().nonnegative(),
  runs_per_minute: z.number().nonnegative().describe("Since it runs, pauses left out"),
  decisions_per_minute: z.number().nonnegative(),
  eta_seconds: z.number().nonnegative().nullable().describe("Null where it cannot be told, or does not run"),
  paused_because: z.string().nullable().describe("The limit that was reached; null where a person paused it"),
  error: z.object({ code: z.string(), message: z.string() }).nullable(),
  trouble: Trouble.nullable().describe("What its producer waits for to heal"),
  created_at: z.date(),
  started_at: z.date().nullable(),
  finished_at: z.date().nullable(),
});
export type Progress = z.infer<typeof Progress>;

/** Throws NOT_FOUND. */
export async function progressOf(db: Db, key: ReingestKey): Promise<Progress> {
  // The row first: where it says that the reingest has ended, what is read after it is final.
  const reingest = await readReingest(db, key);
  const tallies = await talliesOf(db, key);
  const open = await openRunsOf(db, key);
  const seconds = await secondsActive(db, reingest);
  const sums = sumOf(tallies);
  const left = {
    running: openAs(open, "running"),
    pending: openAs(open, "pending"),
    waiting: openAs(open, "waiting"),
  };
  const settled = settledOf(reingest, tallies);
  const decided = reingest.skipped + reingest.enqueued;
  const rate = { runs: perMinute(endedIn(sums), seconds), decisions: perMinute(decided, seconds) };
  return {
    tenant_id: reingest.tenant_id,
    id: reingest.id,
    status: reingest.status,
    total: reingest.total,
    settled,
    done: sums.done,
    skipped: reingest.skipped + sums.skipped,
    failed: sums.failed,
    cancelled: sums.cancelled,
    ...left,
    follow_on: followOn(tallies, open),
    rejected: placeOf(reingest).rejected,
    tokens: sums.tokens,
    cost_usd: sums.cost_usd,
    runs_per_minute: rate.runs,
    decisions_per_minute: rate.decisions,
    eta_seconds: eta(reingest, reingest.total - settled, rate),
    paused_because: reingest.paused_because,
    error: errorOf(reingest),
    trouble: reingest.status === "running" ? placeOf(reingest).trouble : null,
    created_at: reingest.created_at,
    started_at: reingest.started_at,
    finished_at: reingest.finished_at,
  };
}

function placeOf({ cursor }: Reingest) {
  return cursor ?? startingPlace;
}

/** As `settledPairs` of settle.ts has it: what follows counts as far as it was decided that it would. */
function settledOf(reingest: Reingest, tallies: readonly PipelineTally[]): number {
  const sums = sumOf(tallies);
  const followed = Math.min(sums.follow_on, placeOf(reingest).follows);
  return Math.min(reingest.total, reingest.skipped + endedIn(sums) - sums.follow_on + followed);
}

const Open = z.object({
  status: z.enum(["pending", "running", "waiting"]),
  pipeline: z.string(),
  follows: z.boolean(),
  runs: z.coerce.number(),
});
type Open = z.infer<typeof Open>;

// There are as many as the producer's bound lets be, and what follows from them.
async function openRunsOf(db: Db, { tenant_id, id }: ReingestKey): Promise<readonly Open[]> {
  return await many(
    db,
    Open,
    `select status, pipeline, parent_run_id is not null as follows, count(*) as runs
     from pipeline_runs
     where tenant_id = $1 and reingest_id = $2 and status in ('pending', 'running', 'waiting')
     group by status, pipeline, follows`,
    [tenant_id, id],
  );
}

function openAs(open: readonly Open[], status: Open["status"]): number {
  return open.filter((each) => each.status === status).reduce((sum, { runs }) => sum + runs, 0);
}

function followOn(tallies: readonly PipelineTally[], open: readonly Open[]): Progress["follow_on"] {
  const counts: Progress["follow_on"] = {};
  for (const { pipeline, follow_on } of tallies)
    if (follow_on > 0) counts[pipeline] = { ended: follow_on, open: 0 };
  for (const { pipeline, follows, runs } of open) {
    if (!follows) continue;
    const { ended = 0, open: others = 0 } = counts[pipeline] ?? {};
    counts[pipeline] = { ended, open: others + runs };
  }
  return counts;
}

function errorOf({ error_code, error_message }: Reingest): Progress["error"] {
  return error_code === null ? null : { code: error_code, message: error_message ?? "" };
}

function perMinute(count: number, seconds: number): number {
  return seconds > 0 ? (count * 60) / seconds : 0;
}

/**
 * As many pairs are left as there are, and of those still to be decided about, as great a part will run as did so far,
 * no faster than the limit of runs a minute lets them. Null where there is nothing to go by yet.
 */
function eta(
  { status, skipped, enqueued, produced_at, max_runs_per_minute }: Reingest,
  left: number,
  rate: { readonly runs: number; readonly decisions: number },
): number | null {
  if (hasEnded(status) || status !== "running") return null;
  const runs = produced_at || skipped === 0 ? left : left * (enqueued / (skipped + enqueued));
  const pace = Math.min(rate.runs, max_runs_per_minute ?? Number.POSITIVE_INFINITY);
  if (runs >= 1) return pace > 0 ? (runs / pace) * 60 : null;
  return rate.decisions > 0 ? (left / rate.decisions) * 60 : null;
}

// A reingest has no clock of its own: its pauses are the events that tell of them.
async function secondsActive(db: Db, { tenant_id, id, event_id, started_at }: Reingest): Promise<number> {
  if (started_at === null) return 0;
  const { seconds } = await one(
    db,
    z.object({ seconds: z.coerce.number() }),
    `with told as (
       select id, event, occurred_at from events
       where tenant_id = $1 and source_type = 'tenant' and source_id = $1 and id > $3
         and event in ('reingest.paused', 'reingest.resumed') and metadata ->> 'reingest_id' = $2::uuid::text
     ),
     pauses as (
       select event, occurred_at as since, lead(occurred_at) over (order by id) as until from told
     )
     select extract(epoch from coalesce(r.finished_at, now()) - r.started_at)
       - coalesce((
           select sum(greatest(0,
             extract(epoch from coalesce(until, r.finished_at, now()) - greatest(since, r.started_at))))
           from pauses where event = 'reingest.paused'
         ), 0) as seconds
     from reingests r where r.tenant_id = $1 and r.id = $2`,
    [tenant_id, id, event_id ?? 0],
  );
  return Math.max(0, seconds);
}

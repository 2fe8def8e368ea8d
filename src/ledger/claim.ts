import { z } from "zod";
import { type Db, many, type Pool, planOnce, transactionOfOne } from "../db.ts";
import { SubjectType } from "../pipeline.ts";
import { isBudgeted, spentBudgetOf } from "./budgets.ts";
import { type ClaimMemory, nothingKnown } from "./claim-memory.ts";
import { firstOfEach, key, none, reingestOf } from "./lanes.ts";
import { ClaimedRun } from "./run.ts";

export type ClaimOptions = {
  /** Who claims; shown in `pipeline_runs.worker`. */
  readonly worker: string;
  /** The pipelines that this worker can run, each a name or a pattern of SQL's `like`. */
  readonly pipelines: readonly string[];
  /** The most runs to claim. */
  readonly limit: number;
  /** How many of them may be parts of reingests. Defaults to all. */
  readonly bulk?: number | undefined;
  /** How long the leases hold unless they are renewed, in milliseconds. */
  readonly leaseMs: number;
  /** What this process knows from before. Defaults to nothing: then all that is due is found, at whatever cost. */
  readonly memory?: ClaimMemory | undefined;
};

/**
 * Claims up to `limit` due runs, each under a new lease.
 *
 * Fair: of the tenants that have due work, the one that has the fewest running runs for its weight comes first, and
 * among equals the one that was served the longest ago; within a tenant, the higher priority, then the longest due.
 * Paused tenants, pipelines and reingests, and what waits for a budget, are passed over, and caps and a reingest's pace
 * hold: claims take turns, so that none counts what another is about to add. A run about a source type that this version
 * does not know is left to a worker that does.
 */
export async function claimRuns(pool: Pool, options: ClaimOptions): Promise<readonly ClaimedRun[]> {
  const claimed: Found[] = [];
  try {
    // Again while limits hold back some of those whose turn it is: what is then at its limit is passed over, and the
    // places are free for others.
    for (let heldBack = true; heldBack && claimed.length < options.limit; ) {
      const found = await transactionOfOne(pool, (db) => claimMore(db, options, claimed), takeTurn);
      options.memory?.note(found);
      claimed.push(...found);
      heldBack = found.some(({ held_back }) => held_back);
    }
  } catch (error) {
    // Those that are claimed are worked on all the same; whoever claims next meets what is wrong.
    if (claimed.length === 0) throw error;
  }
  return claimed.map(({ held_back: _, turn: __, ...run }) => run);
}

/** Takes a claim's turn until the transaction ends; whoever comes meanwhile waits. */
export const claimTurn = "select pg_advisory_xact_lock(hashtext(current_schema() || '.claim'))";

// A claim that a crash of Postgres undoes leaves its run pending, and its worker fenced: nothing to wait for. And all
// wait for the process whose turn it is: one that was frozen in it loses it. All in one message to the server.
const takeTurn = `
  begin;
  set local synchronous_commit = off;
  set local idle_in_transaction_session_timeout = '3s';
  ${planOnce};
  ${claimTurn}`;

const Found = ClaimedRun.extend({ held_back: z.boolean(), turn: z.string().nullable() });
type Found = z.infer<typeof Found>;

async function claimMore(
  db: Db,
  options: ClaimOptions,
  claimed: readonly Found[],
): Promise<readonly Found[]> {
  const { limit, bulk = limit, memory } = options;
  const parts = claimed.filter(({ reingest_id }) => reingest_id !== null).length;
  return await many(db, Found, { name: "claim", text: claimSql }, [
    options.worker,
    options.pipelines,
    limit - claimed.length,
    options.leaseMs,
    SubjectType.options,
    bulk - parts,
    ...(memory?.recall() ?? nothingKnown),
  ]);
}

/** When the claim got its turn: the transaction began before it waited for that. */
const now = "statement_timestamp()";

/** How far ahead of its pace a reingest may start, in seconds, so that a claim need not come for each run alone. */
const ahead = "case when of.max_runs_per_minute > 24 then 2.5 else 0 end";

/** How many runs a reingest may start now: never more than its limit within any minute. */
const paceRoom = `case
    when of.max_runs_per_minute is null then null
    when of.max_runs_per_minute <= 24 then (coalesce(of.next_at, ${now}) <= ${now})::integer
    else floor(extract(epoch from ${now} - greatest(coalesce(of.next_at, ${now}), ${now})
      + ${ahead} * interval '1 second') / ((60 + ${ahead}) / of.max_runs_per_minute))::integer
  end`;

/** How many run of a lane's tenant. Looked up by key: a join may compare each lane with each tenant. */
const tenantRunning = "coalesce((tenant_load.by_tenant ->> lane.tenant_id::text)::integer, 0)";

/** What bounds a tenant's graphs does not bound what its subscribers are told. */
const tenantCap = "case when lane.pipeline not like 'webhook:%' then tenant.max_running end";

/** Whose turn it is among equals. Deliveries draw lots: they take no turn from their tenant's graphs. */
const servedAt = `case
    when lane.pipeline like 'webhook:%' then to_timestamp(hashtext(lane.tenant_id || ${now}::text))
    else coalesce(greatest(turn.claimed_at, ($14::jsonb ->> lane.tenant_id::text)::timestamptz), '-infinity')
  end`;

/** The first lane after another and, where there is one, before the next one that is known. */
const firstWithin = (gap: string) => {
  const before = `(${gap}.to_tenant, ${gap}.to_pipeline, ${gap}.to_priority, ${gap}.to_reingest)`;
  return `
    (${firstOfEach(`${key("run")} > ${key(gap)} and ${key("run")} < ${before}`)})
    union all
    (${firstOfEach(`${key("run")} > ${key(gap)} and ${gap}.to_tenant is null`)})`;
};

/**
 * Who has the fewest running for its weight; then who is not served by this claim already; then who waited longest; then
 * the higher priority, and the longest due. Without the second, slots that end by the same groups would for ever give
 * the place that is left over to the tenant that waits for the smaller group.
 */
const inTurn = "share, again, served_at, priority desc, run_after, id";

const runKey = (run: string) => `(${run}.tenant_id, ${run}.pipeline, ${run}.source_type, ${run}.source_id)`;

// Asked of one run at a time, as a range in the order of `one_running_run`: with `exists`, or with equalities, it could
// become a join, or be read from another index, and either may read all that ran lately.
const runningOfItsKey = `(
      select other.id from pipeline_runs other
      where other.status = 'running'
        and ${runKey("other")} >= ${runKey("run")} and ${runKey("other")} <= ${runKey("run")}
      order by other.tenant_id, other.pipeline, other.source_type, other.source_id
      limit 1
    )`;

/** The first runs of a lane that can start now, from where the lane is known to begin. */
const dueIn = (lane: string, limit: string) => `
  select run.id, run.run_after, run.ctid as place
  from pipeline_runs run
  where run.status = 'pending'
    and run.tenant_id = ${lane}.tenant_id and run.pipeline = ${lane}.pipeline and run.priority = ${lane}.priority
    and ${reingestOf("run")} = ${lane}.reingest
    and run.run_after <= ${now} and (run.run_after, run.id) >= (${lane}.from_after, ${lane}.from_id)
    and run.source_type = any ($5)
    and ${runningOfItsKey} is null
  order by run.run_after, run.id
  limit ${limit}`;

// Deliveries have slots of their own and wait for others: they take nothing from a tenant's share of the graphs.
// A lane is (tenant, pipeline, priority, reingest). Lanes are found by jumping from one to the next in the index
// `pending_lanes`, so the cost is that of the lanes, not of the backlog. Those that the process knows already are not
// looked for, only what lies between them. Lanes without room go first: they would take places in the ranking that they
// cannot use. Then only the tenants whose turn it is are read, and of each lane only the head. What was chosen is locked
// and updated where it was found (`ctid`): one that somebody changes meanwhile is left for the next claim.
const claimSql = `
  with recursive known as materialized (
    select * from unnest($7::uuid[], $8::text[], $9::integer[], $10::uuid[], $11::timestamptz[], $12::uuid[])
      as known (tenant_id, pipeline, priority, reingest, from_after, from_id)
  ),
  gap as (
    select tenant_id, pipeline, priority, reingest,
      lead(tenant_id) over by_lane as to_tenant, lead(pipeline) over by_lane as to_pipeline,
      lead(priority) over by_lane as to_priority, lead(reingest) over by_lane as to_reingest
    from (
      select tenant_id, pipeline, priority, reingest from known
      union all
      select ${none}, '', -2147483648, ${none}
    ) bound
    window by_lane as (order by tenant_id, pipeline, priority, reingest)
  ),
  new_lane as (
    select next.*, to_tenant, to_pipeline, to_priority, to_reingest
    from gap cross join lateral (${firstWithin("gap")}) next
    union all
    select next.*, to_tenant, to_pipeline, to_priority, to_reingest
    from new_lane cross join lateral (${firstWithin("new_lane")}) next
  ),
  lane as (
    select * from known
    union all
    select tenant_id, pipeline, priority, reingest, '-infinity', ${none} from new_lane
  ),
  running as materialized (
    select tenant_id, pipeline, count(*)::integer as runs
    from (
      select tenant_id, pipeline from pipeline_runs
      where status = 'running' and lease_expires_at >= $13
      order by lease_expires_at
      offset 0
    ) leased
    where (pipeline like 'webhook:%') = exists (
      select from unnest($2::text[]) pattern where pattern like 'webhook:%'
    )
    group by tenant_id, pipeline
  ),
  tenant_load as materialized (
    select coalesce(jsonb_object_agg(tenant_id, runs), '{}') as by_tenant
    from (select tenant_id, sum(runs) as runs from running group by tenant_id) each
  ),
  pipeline_load as materialized (
    select pipeline, sum(runs)::integer as runs from running group by pipeline
  ),
  open_lane as materialized (
    select lane.*, coalesce(tenant.weight, 1) as weight, ${servedAt} as served_at,
      ${tenantRunning} as tenant_running, ${tenantCap} as tenant_cap,
      coalesce(pipeline_load.runs, 0) as pipeline_running, control.max_running as pipeline_cap,
      ${paceRoom} as pace_room
    from lane
    cross join tenant_load
    left join pipeline_load on pipeline_load.pipeline = lane.pipeline
    left join tenant_controls tenant on tenant.tenant_id = lane.tenant_id
    left join pipeline_controls control on control.pipeline = lane.pipeline
    left join tenant_turns turn on turn.tenant_id = lane.tenant_id
    left join lateral (
      select of.status, of.max_runs_per_minute, pace.next_at
      from reingests of
      left join reingest_paces pace on pace.tenant_id = of.tenant_id and pace.reingest_id = of.id
      where lane.reingest <> ${none} and of.tenant_id = lane.tenant_id and of.id = lane.reingest
      offset 0
    ) of on true
    where lane.pipeline like any ($2) and tenant.paused_at is null and control.paused_at is null
      and ${spentBudgetOf("lane", now)} is null
      and (${tenantCap} is null or ${tenantRunning} < ${tenantCap})
      and (control.max_running is null or coalesce(pipeline_load.runs, 0) < control.max_running)
      and (lane.reingest = ${none} or ($6 > 0 and of.status = 'running' and coalesce(${paceRoom}, 1) > 0))
  ),
  next_tenant as materialized (
    select tenant_id
    from (
      select open_lane.*, tenant_running / weight as share, min(served_at) over (partition by tenant_id) as waits_since
      from open_lane
      order by share, waits_since, tenant_id
      offset 0
    ) waiting
    cross join lateral (${dueIn("waiting", "1")}) due
    group by share, waits_since, tenant_id
    order by share, waits_since, tenant_id
    limit $3
  ),
  head as (
    select open_lane.*, due.id, due.run_after, due.place
    from open_lane
    cross join lateral (${dueIn("open_lane", "$3")}) due
    where (open_lane.tenant_id in (select tenant_id from next_tenant)) is true
  ),
  shared as (
    select head.*, tenant_running + row_number() over by_tenant as tenant_nth,
      (tenant_running + row_number() over by_tenant - 1) / weight as share,
      row_number() over by_tenant > 1 as again
    from head
    window by_tenant as (partition by tenant_id order by priority desc, run_after, id)
  ),
  ranked as (
    select shared.*,
      pipeline_running + row_number() over (partition by pipeline order by ${inTurn}) as pipeline_nth,
      row_number() over (partition by tenant_id, reingest order by ${inTurn}) as paced_nth,
      row_number() over (partition by reingest = ${none} order by ${inTurn}) as bulk_nth
    from shared
  ),
  chosen as (
    select place, row_number() over (order by ${inTurn}) as nth
    from ranked
    where (tenant_cap is null or tenant_nth <= tenant_cap)
      and (pipeline_cap is null or pipeline_nth <= pipeline_cap)
      and (pace_room is null or paced_nth <= pace_room)
      and (reingest = ${none} or bulk_nth <= $6)
    order by ${inTurn}
    limit $3
  ),
  at_limits as (
    select (select count(*) from next_tenant) >= $3 or exists (
      select from ranked
      where tenant_nth > tenant_cap or pipeline_nth > pipeline_cap or paced_nth > pace_room
    ) as held_back
  ),
  locked as (
    select run.*, chosen.nth
    from chosen
    cross join lateral (
      select ctid as place, tenant_id, pipeline, reingest_id
      from pipeline_runs run
      where run.ctid = chosen.place and run.status = 'pending'
      for update skip locked
    ) run
  ),
  served as (
    select tenant_id, ${now} + max(nth) * interval '1 microsecond' as claimed_at
    from locked where pipeline not like 'webhook:%' group by tenant_id
  ),
  turn as (
    insert into tenant_turns as turn (tenant_id, claimed_at) select tenant_id, claimed_at from served
    on conflict (tenant_id) do update set claimed_at = excluded.claimed_at
    where turn.claimed_at < excluded.claimed_at - $15 * interval '1 millisecond'
  ),
  paced as (
    insert into reingest_paces as pace (tenant_id, reingest_id, next_at)
    select of.tenant_id, of.id,
      greatest(coalesce(min(pace.next_at), ${now}), ${now})
        + count(*) * (60 + ${ahead}) / of.max_runs_per_minute * interval '1 second'
    from locked
    join reingests of on of.tenant_id = locked.tenant_id and of.id = locked.reingest_id
    left join reingest_paces pace on pace.tenant_id = of.tenant_id and pace.reingest_id = of.id
    where of.max_runs_per_minute is not null
    group by of.tenant_id, of.id
    on conflict (tenant_id, reingest_id) do update set next_at = excluded.next_at
    returning tenant_id, reingest_id, next_at
  )
  update pipeline_runs run set
    status           = 'running',
    lease_token      = gen_random_uuid(),
    lease_expires_at = ${now} + $4 * interval '1 millisecond',
    worker           = $1,
    started_at       = coalesce(run.started_at, ${now})
  from locked
  left join served using (tenant_id)
  left join paced using (tenant_id, reingest_id)
  cross join at_limits
  where run.ctid = locked.place
  returning run.tenant_id, run.id, run.source_type, run.source_id, run.source_version, run.pipeline,
    run.priority, run.reingest_id, run.force, ${isBudgeted("run")} as budgeted,
    run.attempt, run.max_attempts, run.lease_token, run.started_at < ${now} as claimed_before,
    jsonb_array_length(run.errors) as failures,
    case when paced.next_at >= ${now} + interval '2.5 seconds' then
      extract(epoch from paced.next_at - ${now})::float8 * 1000
    end as paced_ms,
    served.claimed_at::text as turn,
    at_limits.held_back`;

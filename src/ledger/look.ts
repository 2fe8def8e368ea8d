import { z } from "zod";
import { type Db, many, maybeOne, type Pool, transaction } from "../db.ts";
import type { SourceType } from "../pipeline.ts";
import { HeldBy, heldBy } from "./budgets.ts";
import { Question } from "./questions.ts";
import { Run } from "./run.ts";
import type { Status } from "./states.ts";
import { tenantsOf } from "./tenants.ts";

/** Which runs of a tenant are asked for; what is left out does not matter. */
export type RunsAsked = {
  readonly tenant_id: string;
  readonly pipeline?: string | undefined;
  readonly status?: Status | undefined;
  readonly entity?: { readonly source_type: SourceType; readonly source_id: string } | undefined;
  readonly reingest_id?: string | undefined;
};

export type RunsRange = {
  /** The most runs to answer. */
  readonly limit: number;
  /** Only those that were made before the run of this id. */
  readonly before?: string | undefined;
  /** The most runs to look at: 60 ms for as many as the default, 100,000. */
  readonly most?: number | undefined;
};

export type RunsPage = {
  readonly items: readonly Run[];
  /** `before` of the next page; null at the end. */
  readonly next: string | null;
};

/**
 * The newest runs that match, newest first. What a page costs depends neither on how many runs there are nor on how
 * seldom they match: it may hold fewer than `limit`, or none, and yet have a next one, which looks further.
 */
export async function runsPage(
  pool: Pool,
  asked: RunsAsked,
  { limit, before, most = 100_000 }: RunsRange,
): Promise<RunsPage> {
  const among = amongOf(asked, before, most);
  const matching = [asked.status ?? null, asked.pipeline ?? null, asked.reingest_id ?? null];
  return await transaction(pool, async (db) => {
    // One view of the table: were runs made between the two looks, the second would end too soon, and give some again.
    await db.query("set transaction isolation level repeatable read, read only");
    const found = await many(db, Run, pageSql, [...among, ...matching, limit + 1]);
    const items = found.slice(0, limit);
    const last = found.length > limit ? items.at(-1) : await maybeOne(db, Id, lastSql, among);
    return { items, next: last?.id ?? null };
  });
}

const Id = z.object({ id: z.guid() });

/** The part of what is asked that an index gives in order. */
function amongOf({ tenant_id, entity, status }: RunsAsked, before: string | undefined, most: number) {
  const rare = status === "failed" || status === "waiting" || status === "running" ? status : null;
  return [tenant_id, before ?? null, entity?.source_type ?? null, entity?.source_id ?? null, rare, most];
}

// Absent values are known when the statement is planned, so what is left is a range of one index, read backwards: all
// runs of a tenant, of an entity, or in a rare status. Were the other conditions within it, Postgres would read on
// until it found enough of them: 0.8 s to learn that the newest 2,000,000 runs are none of the failed ones.
const among = `
  from pipeline_runs
  where tenant_id = $1 and ($2::uuid is null or id < $2)
    and ($3::text is null or source_type = $3) and ($4::uuid is null or source_id = $4)
    and ($5::text is null or status = $5)
  order by id desc`;

const pageSql = `
  select * from (select * ${among} limit $6) looked_at
  where ($7::text is null or status = $7) and ($8::text is null or pipeline = $8)
    and ($9::uuid is null or reingest_id = $9)
  order by id desc
  limit $10`;

/** The last run that was looked at, where there were as many as may be. */
const lastSql = `select id ${among} offset $6 - 1 limit 1`;

const WholeRun = Run.extend({
  prompt_hash: z.string().nullable(),
  input_hash: z.string().nullable(),
  fingerprint: z.string().nullable(),
  /** All that it has asked people, in its order, and what they answered. */
  questions: z.array(Question),
  /** The spent budget that it waits for, though it may be due. */
  held_by: HeldBy.nullable(),
  lease_expires_at: z.date().nullable(),
  cancel_requested_at: z.date().nullable(),
  /** The event that caused it, where one did and is still there. */
  cause: z.object({ id: z.number(), event: z.string(), occurred_at: z.coerce.date() }).nullable(),
});
export type WholeRun = z.infer<typeof WholeRun>;

const Owner = z.object({ tenant_id: z.guid() });

/** The tenant that has the run of this id, or undefined: one look for each tenant that has runs. */
export async function tenantOfRun(db: Db, id: string): Promise<string | undefined> {
  return (await maybeOne(db, Owner, tenantSql, [null, id]))?.tenant_id;
}

const tenantSql = `
  with ${tenantsOf("pipeline_runs")}
  select run.tenant_id
  from tenant
  join pipeline_runs run on run.tenant_id = tenant.tenant_id and run.id = $2
  limit 1`;

/** A run with all that there is to know of it, or undefined. */
export async function findRun(db: Db, tenant_id: string, id: string): Promise<WholeRun | undefined> {
  return await maybeOne(
    db,
    WholeRun,
    `select run.*, (
       select jsonb_build_object('id', cause.id, 'event', cause.event, 'occurred_at', cause.occurred_at)
       from events cause where cause.tenant_id = run.tenant_id and cause.id = run.cause_event
     ) as cause, coalesce((
       select jsonb_agg(to_jsonb(asked) - 'tenant_id' - 'run_id' - 'nth' order by asked_at, nth)
       from questions asked where asked.tenant_id = run.tenant_id and asked.run_id = run.id
     ), '[]') as questions, ${heldBy("run")} as held_by
     from pipeline_runs run
     where run.tenant_id = $1 and run.id = $2`,
    [tenant_id, id],
  );
}

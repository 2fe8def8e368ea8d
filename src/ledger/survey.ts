import { z } from "zod";
import { many, one, type Pool, planOnce, transaction } from "../db.ts";
import { key, none, reingestOf } from "./lanes.ts";

const Lane = z.object({
  tenant_id: z.guid(),
  pipeline: z.string(),
  priority: z.int(),
  reingest: z.guid(),
});
export type Lane = z.infer<typeof Lane>;

const Begin = Lane.extend({
  /** From when, and from which run on, something may wait in the lane. */
  from_after: z.string(),
  from_id: z.guid(),
});
export type Begin = z.infer<typeof Begin>;

const Edges = z.object({ latest: z.string(), leases_from: z.string() });

export type Survey = {
  /** Where each lane begins that has pending runs. */
  readonly begins: readonly Begin[];
  /** Where any other lane begins, at the earliest. */
  readonly latest: string;
  /** When the first lease of what runs will end, or was to end. */
  readonly leases_from: string;
};

/**
 * Looks where each lane begins, all the way: past each entry that an old snapshot keeps. It waits for no claim, and
 * none waits for it.
 *
 * What a transaction of less than `slackMs` puts into a lane is never before its begin.
 */
export async function surveyLanes(pool: Pool, slackMs: number): Promise<Survey> {
  return await transaction(
    pool,
    async (db) => {
      const edges = await one(db, Edges, { name: "survey-edges", text: edgesSql }, [slackMs]);
      const begins = await many(db, Begin, { name: "survey-lanes", text: lanesSql }, [edges.latest]);
      return { begins, ...edges };
    },
    `begin read only; ${planOnce}`,
  );
}

// The clock is read before the runs are: a claim that this does not see yet ends its leases later than that.
const edgesSql = `
  select latest::text, least(latest, (
    select lease_expires_at from pipeline_runs where status = 'running' order by lease_expires_at limit 1
  ))::text as leases_from
  from (select statement_timestamp() - $1 * interval '1 millisecond' as latest) clock`;

const first = (where: string) => `
  select run.tenant_id, run.pipeline, run.priority, ${reingestOf("run")} as reingest, run.run_after, run.id
  from pipeline_runs run
  where run.status = 'pending' and ${where}
  order by run.tenant_id, run.pipeline, run.priority, ${reingestOf("run")}, run.run_after, run.id
  limit 1`;

const lanesSql = `
  with recursive lane as (
    (${first("true")})
    union all
    select next.* from lane cross join lateral (${first(`${key("run")} > ${key("lane")}`)}) next
  )
  select tenant_id, pipeline, priority, reingest,
    least(run_after, $1::timestamptz)::text as from_after,
    case when run_after < $1::timestamptz then id else ${none} end as from_id
  from lane`;

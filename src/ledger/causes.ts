import { z } from "zod";
import { type Db, many } from "../db.ts";
import { unresolved } from "./read.ts";
import type { DeadLetterFilter } from "./redrive.ts";

/** The dead letters of one pipeline that have one cause. */
export const Cause = z.object({
  pipeline: z.string(),
  error_code: z.string(),
  runs: z.coerce.number(),
  /** The message of the newest. */
  error_message: z.string(),
  first_at: z.date(),
  last_at: z.date(),
});
export type Cause = z.infer<typeof Cause>;

/** The dead letters that no later run has healed, by pipeline and cause, the most frequent first. */
export async function listCauses(
  db: Db,
  { tenant_id, pipeline, code, limit = 1_000 }: DeadLetterFilter = {},
): Promise<readonly Cause[]> {
  return await many(
    db,
    Cause,
    `select pipeline, error_code, count(*) as runs, min(finished_at) as first_at, max(finished_at) as last_at,
       (array_agg(error_message order by finished_at desc))[1] as error_message
     from pipeline_runs run
     where ${unresolved("run")} and ($1::uuid is null or tenant_id = $1)
       and ($2::text is null or pipeline = $2) and ($3::text is null or error_code = $3)
     group by pipeline, error_code
     order by runs desc, pipeline, error_code
     limit $4`,
    [tenant_id ?? null, pipeline ?? null, code ?? null, limit],
  );
}

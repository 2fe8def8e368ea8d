import { z } from "zod";
import { contendedTransaction, execute, many, type Pool } from "../db.ts";
import { goOn } from "./answer.ts";

/** Who answers a question that nobody answered in time. */
const nobody = "expired";

const Waiting = z.object({ tenant_id: z.guid(), id: z.guid() });
type Waiting = z.infer<typeof Waiting>;

/**
 * Answers the questions that expired, by the database's clock, with their defaults: those of up to `limit` runs, which
 * defaults to 100. Any worker may, at any time.
 *
 * @returns how many runs it looked at; as many as `limit`, and there may be more.
 */
export async function expireQuestions(pool: Pool, limit = 100): Promise<number> {
  await execute(pool, forgetSql);
  const runs = await many(pool, Waiting, expiredSql, [limit]);
  for (const run of runs) await expire(pool, run);
  return runs.length;
}

// Nobody waits for these any more: they are not to be looked at again and again.
const forgetSql = `
  update questions set expires_at = null
  from pipeline_runs run
  where expires_at <= now() and answered_at is null
    and run.tenant_id = questions.tenant_id and run.id = run_id and run.status in ('success', 'failed', 'cancelled')`;

const expiredSql = `
  select tenant_id, run_id as id
  from questions
  where expires_at <= now() and answered_at is null
  group by tenant_id, run_id
  order by min(expires_at)
  limit $1`;

/** Its run is locked first, as for every answer: whoever answers it at this moment is kept. */
async function expire(pool: Pool, { tenant_id, id }: Waiting): Promise<void> {
  await contendedTransaction(pool, async (db) => {
    const waiting = await execute(db, lockSql, [tenant_id, id]);
    if (waiting === 0) return;
    await execute(db, expireSql, [tenant_id, id, nobody]);
    await goOn(db, { tenant_id, id });
  });
}

const lockSql =
  "select from pipeline_runs where tenant_id = $1 and id = $2 and status = 'waiting' for update skip locked";

const expireSql = `
  update questions set answer = default_answer, answered_at = now(), answered_by = $3
  where tenant_id = $1 and run_id = $2 and answered_at is null and expires_at <= now()`;

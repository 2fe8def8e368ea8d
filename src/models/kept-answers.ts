import { z } from "zod";
import { type Db, execute, maybeOne } from "../db.ts";

/** An answer as a server gave it, by a hash of what was asked. */
export type KeptAnswer = { readonly key: string; readonly model: string; readonly body: string };

const Found = z.object({ model: z.string(), body: z.string() });

/** The answer that a tenant already has to a question, unless it is too old. */
export async function findAnswer(db: Db, tenant_id: string, key: string) {
  return await maybeOne(
    db,
    Found,
    {
      name: "find-answer",
      text: "select model, body from model_answers where tenant_id = $1 and key = $2 and expires_at > now()",
    },
    [tenant_id, key],
  );
}

/** Keeps a tenant's answers, in the place of those that it had to the same questions. */
export async function keepAnswers(
  db: Db,
  tenant_id: string,
  answers: readonly KeptAnswer[],
  maxAgeMs: number,
): Promise<void> {
  await execute(db, keepSql, [tenant_id, JSON.stringify(answers), maxAgeMs]);
}

const keepSql = `
  insert into model_answers (tenant_id, key, model, body, expires_at)
  select $1, key, model, body, now() + $3 * interval '1 millisecond'
  from jsonb_to_recordset($2) as given (key text, model text, body text)
  order by key
  on conflict (tenant_id, key) do update set
    model = excluded.model, body = excluded.body, at = now(), expires_at = excluded.expires_at`;

/** The most answers that are kept for a tenant; beyond that, the oldest go. */
const mostAnswers = 100_000;

/** Deletes answers that are too old, or too many, up to `limit` of each. @returns how many. */
export async function deleteOldAnswers(db: Db, { most = mostAnswers, limit = 10_000 } = {}): Promise<number> {
  const expired = await execute(
    db,
    `delete from model_answers where ctid = any (array(
       select ctid from model_answers where expires_at <= now() limit $1
     ))`,
    [limit],
  );
  return expired + (await execute(db, tooManySql, [most, limit]));
}

const tooManySql = `
  delete from model_answers where ctid = any (array(
    select old.ctid
    from (select distinct tenant_id from model_answers) tenant
    cross join lateral (
      select ctid from model_answers answer where answer.tenant_id = tenant.tenant_id order by at desc offset $1
    ) old
    limit $2
  ))`;

import { type Db, execute } from "../db.ts";
import type { SubjectType } from "../pipeline.ts";

/**
 * Forgets what people were asked about entities that are gone, with what they said, and lets what they made of states of
 * their runs expire: both hold their texts.
 */
export async function forgetEntities(
  db: Db,
  tenant_id: string,
  entities: readonly { source_type: SubjectType; source_id: string }[],
): Promise<void> {
  if (entities.length === 0) return;
  const values = [tenant_id, entities.map((e) => e.source_type), entities.map((e) => e.source_id)];
  await execute(db, forgetQuestionsSql, values);
  await execute(db, expireForksSql, values);
}

const isGone = "(source_type, source_id) in (select * from unnest($2::text[], $3::uuid[]))";

const forgetQuestionsSql = `
  delete from questions using pipeline_runs run
  where run.tenant_id = $1 and ${isGone}
    and questions.tenant_id = run.tenant_id and questions.run_id = run.id`;

// One that is being promoted waits for our entities, and then finds them gone: waiting for it, we would wait for each other.
const expireForksSql = `
  with gone as materialized (
    select tenant_id, id from forks
    where tenant_id = $1 and ${isGone} and expires_at is not null
    for update skip locked
  )
  update forks set expires_at = now(), status = case forks.status when 'open' then 'dropped' else forks.status end
  from gone
  where forks.tenant_id = gone.tenant_id and forks.id = gone.id`;

import { z } from "zod";
import { type Db, many, prepared } from "../db.ts";
import { Mention, SourceType } from "../pipeline.ts";
import type { EntityKey } from "./entities.ts";

/** The characters of a tenant, but for `self`, whose title, a capitalised word of it, or an alias stands in `text`. */
export async function findMentions(
  db: Db,
  tenant_id: string,
  self: string,
  text: string,
): Promise<readonly Mention[]> {
  return await many(
    db,
    Mention,
    `select source_type, source_id from entities
     where tenant_id = $1 and source_id <> $2 and ${isNamedIn("$3")}
     order by source_type, source_id`,
    [tenant_id, self, text],
  );
}

const Former = z.object({ of_tenant: z.guid(), of_type: SourceType, of_id: z.guid(), ...Mention.shape });

/**
 * Whom the stored texts of entities speak of, by the names that these characters bear today: what is known of them
 * is stale once these texts change or go.
 */
export async function formerMentions(
  db: Db,
  entities: readonly EntityKey[],
): Promise<(entity: EntityKey) => readonly Mention[]> {
  if (entities.length === 0) return () => [];
  const rows = await many(db, Former, formerSql, [
    entities.map(({ tenant_id }) => tenant_id),
    entities.map(({ source_type }) => source_type),
    entities.map(({ source_id }) => source_id),
  ]);
  const nameOf = (tenant: string, type: string, id: string) => `${tenant} ${type} ${id}`.toLowerCase();
  const byEntity = Map.groupBy(rows, (row) => nameOf(row.of_tenant, row.of_type, row.of_id));
  return ({ tenant_id, source_type, source_id }) =>
    (byEntity.get(nameOf(tenant_id, source_type, source_id)) ?? []).map((row) => Mention.parse(row));
}

// Too much found costs a run that ends as unchanged; too little would leave what is known of somebody stale.
const isNamedIn = (text: string) => `source_type = 'character' and exists (
  select from (
    select title as name
    union all
    select word from regexp_split_to_table(title, '\\s+') word
    where word ~ '^[^[:lower:]]' and word !~* '^(the|mrs?|miss|ms|dr|sir|lady|lord|captain)[.]?$'
    union all
    select alias from jsonb_array_elements_text(
      case when jsonb_typeof(metadata -> 'aliases') = 'array' then metadata -> 'aliases' else '[]' end
    ) alias
  ) named
  where length(name) > 1 and strpos(${text}, name) > 0
)`;

const formerSql = prepared(`
  with former as (
    select tenant_id as of_tenant, source_type as of_type, source_id as of_id,
      string_agg(text, E'\\n' order by ordinal) as former_text
    from chunks
    where (tenant_id, source_type, source_id) in (select * from unnest($1::uuid[], $2::text[], $3::uuid[]))
    group by tenant_id, source_type, source_id
  )
  select of_tenant, of_type, of_id, source_type, source_id
  from former
  join entities on tenant_id = of_tenant and source_id <> of_id and ${isNamedIn("former_text")}
  order by of_tenant, of_type, of_id, source_type, source_id`);

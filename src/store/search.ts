import { z } from "zod";
import { type Db, many } from "../db.ts";
import { Mention, Passage, SourceType } from "../pipeline.ts";
import { spaced } from "./words.ts";

const Hit = z.object({
  source_type: SourceType,
  source_id: z.uuid(),
  title: z.string(),
  path: z.string(),
  start: z.int(),
  end: z.int(),
  excerpt: z.string(),
  rank: z.number(),
});
export type Hit = z.infer<typeof Hit>;

/** The chunks of a tenant that hold these words, best first: headings weigh more than text. `limit` defaults to 10. */
export async function searchChunks(
  db: Db,
  tenant_id: string,
  words: string,
  limit = 10,
): Promise<readonly Hit[]> {
  return await many(db, Hit, searchSql, [tenant_id, spaced(words), limit]);
}

// Words are indexed by the configuration of their language, and a query must be parsed by the same one: so one
// query for each configuration that the tenant has, of which there are few. Excerpts are made of the best only.
const searchSql = `
  with hit as (
    select fts.source_type, fts.source_id, fts.ordinal, fts.config, query,
      ts_rank_cd(fts.words, query, 1) as rank
    from (select distinct config from chunk_fts where tenant_id = $1) used
    cross join lateral websearch_to_tsquery(used.config::regconfig, $2) query
    join chunk_fts fts on fts.tenant_id = $1 and fts.config = used.config and fts.words @@ query
    order by rank desc, fts.source_type, fts.source_id, fts.ordinal
    limit $3
  )
  select hit.source_type, hit.source_id, entity.title, chunk.path, chunk.start_offset as start, chunk.end_offset as "end",
    hit.rank,
    ts_headline(hit.config::regconfig, chunk.text, query,
      'StartSel=«, StopSel=», MaxWords=30, MinWords=12, MaxFragments=1') as excerpt
  from hit
  join chunks chunk on chunk.tenant_id = $1 and chunk.source_type = hit.source_type
    and chunk.source_id = hit.source_id and chunk.ordinal = hit.ordinal
  join entities entity on entity.tenant_id = $1 and entity.source_type = hit.source_type
    and entity.source_id = hit.source_id
  order by hit.rank desc, hit.source_type, hit.source_id, hit.ordinal`;

/** The chunks in which one of `names` stands as a phrase, in a fixed order. `limit` defaults to 200. */
export async function findPassages(
  db: Db,
  tenant_id: string,
  names: readonly string[],
  limit = 200,
): Promise<readonly Passage[]> {
  if (names.length === 0) return [];
  return await many(db, Passage, passagesSql, [tenant_id, names.map(spaced), limit]);
}

// The full-text index finds candidates; a stemmer takes "Rose" for "roses", so the text itself has the last word.
const passagesSql = `
  with mention as (
    select distinct fts.source_type, fts.source_id, fts.ordinal
    from (select distinct config from chunk_fts where tenant_id = $1) used
    cross join unnest($2::text[]) name
    cross join lateral phraseto_tsquery(used.config::regconfig, name) query
    join chunk_fts fts on fts.tenant_id = $1 and fts.config = used.config and fts.words @@ query
  )
  select chunk.source_type, chunk.source_id, chunk.path, chunk.text, chunk.start_offset as start, chunk.end_offset as "end"
  from mention
  join chunks chunk on chunk.tenant_id = $1 and chunk.source_type = mention.source_type
    and chunk.source_id = mention.source_id and chunk.ordinal = mention.ordinal
  where exists (select from unnest($2::text[]) name where strpos(chunk.text, name) > 0)
  order by chunk.source_type, chunk.source_id, chunk.ordinal
  limit $3`;

/** The characters of a tenant, but for `self`, whose title, a capitalised word of it, or an alias stands in `text`. */
export async function findMentions(
  db: Db,
  tenant_id: string,
  self: string,
  text: string,
): Promise<readonly Mention[]> {
  return await many(db, Mention, mentionsSql, [tenant_id, self, text]);
}

// Too much found costs a run that ends as unchanged; too little would leave what is known of somebody stale.
const mentionsSql = `
  select source_type, source_id
  from entities
  where tenant_id = $1 and source_type = 'character' and source_id <> $2
    and exists (
      select from unnest(
        array[title] || regexp_split_to_array(title, '\\s+') || case
          when jsonb_typeof(metadata -> 'aliases') = 'array'
          then array(select jsonb_array_elements_text(metadata -> 'aliases')) else '{}'
        end
      ) name
      where length(name) > 1 and name ~ '^[^[:lower:]]' and name !~* '^(the|mrs?|miss|ms|dr|sir|lady|lord|captain)[.]?$'
        and strpos($3, name) > 0
    )
  order by source_type, source_id`;

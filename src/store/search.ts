import { z } from "zod";
import { type Db, many } from "../db.ts";
import { SourceType } from "../pipeline.ts";
import { excerpt, wordEnd, wordStart } from "./excerpt.ts";
import { indexed, searchWords } from "./words.ts";

const Found = z.object({
  source_type: SourceType,
  source_id: z.guid(),
  title: z.string(),
  path: z.string(),
  text: z.string(),
  start: z.int(),
  end: z.int(),
  rank: z.number(),
  config: z.string(),
});
type Found = z.infer<typeof Found>;

export type Hit = Omit<Found, "config" | "text"> & {
  /** What stands around the words, which are «marked». */
  readonly excerpt: string;
};

/** The chunks of a tenant that hold these words, best first: headings weigh more than text. `limit` defaults to 10. */
export async function searchChunks(
  db: Db,
  tenant_id: string,
  words: string,
  limit = 10,
): Promise<readonly Hit[]> {
  const query = searchWords(words);
  const found = await many(db, Found, searchSql, [tenant_id, query, limit]);
  const excerpts = await excerptsOf(db, query, found);
  return found.map(({ config, text, ...hit }, nth) => ({ ...hit, excerpt: excerpts[nth] ?? "" }));
}

// Words are indexed by the configuration of their language, and a query must be parsed by the same one: so one
// query for each configuration that the tenant has, of which there are few.
const searchSql = `
  with hit as (
    select fts.source_type, fts.source_id, fts.ordinal, fts.config, ts_rank_cd(fts.words, query, 1) as rank
    from (select distinct config from chunk_fts where tenant_id = $1) used
    cross join lateral websearch_to_tsquery(used.config::regconfig, $2) query
    join chunk_fts fts on fts.tenant_id = $1 and fts.config = used.config and fts.words @@ query
    order by rank desc, fts.source_type, fts.source_id, fts.ordinal
    limit $3
  )
  select hit.source_type, hit.source_id, entity.title, chunk.path, chunk.text,
    chunk.start_offset as start, chunk.end_offset as "end", hit.rank, hit.config
  from hit
  join chunks chunk on chunk.tenant_id = $1 and chunk.source_type = hit.source_type
    and chunk.source_id = hit.source_id and chunk.ordinal = hit.ordinal
  join entities entity on entity.tenant_id = $1 and entity.source_type = hit.source_type
    and entity.source_id = hit.source_id
  order by hit.rank desc, hit.source_type, hit.source_id, hit.ordinal`;

const Highlighted = z.object({ words: z.string() });

// Postgres knows which words answer the query, but only as they were indexed: the excerpt is cut from the text itself.
async function excerptsOf(db: Db, query: string, found: readonly Found[]): Promise<readonly string[]> {
  const rows = await many(
    db,
    Highlighted,
    `select ts_headline(config::regconfig, words, websearch_to_tsquery(config::regconfig, $1),
       'HighlightAll=true, StartSel=' || $4 || ', StopSel=' || $5) as words
     from unnest($2::text[], $3::text[]) with ordinality as given (config, words, nth)
     order by nth`,
    [query, found.map(({ config }) => config), found.map(({ text }) => indexed(text)), wordStart, wordEnd],
  );
  return rows.map(({ words }, nth) => excerpt(found[nth]?.text ?? "", words));
}

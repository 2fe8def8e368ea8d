import { type Db, many } from "../db.ts";
import { Passage, sourceTypes } from "../pipeline.ts";
import { isSpaced, searchWords } from "./words.ts";

/**
 * The chunks in which one of `names` stands as whole words, with the case of its letters: "Rose" is neither in
 * "Roses" nor in "Primrose", but in "Rose’s". In reading order: that of the entities among their siblings, each
 * before its children. Where there are more than `limit`, they are picked evenly from first to last; it defaults to 200.
 */
export async function findPassages(
  db: Db,
  tenant_id: string,
  names: readonly string[],
  limit = 200,
): Promise<readonly Passage[]> {
  const named = names.map((name) => name.trim()).filter((name) => name !== "");
  if (named.length === 0) return [];
  const words = wholeWords(named);
  const found: Passage[] = [];
  for (let offset = 0; ; offset += pageSize) {
    const page = await candidates(db, tenant_id, named, { limit: pageSize, offset });
    found.push(...page.filter(({ text }) => words.test(text)));
    if (page.length < pageSize) return spread(found, limit);
  }
}

const pageSize = 2_000;

/** `most` of the items, as far apart as each other, so that a book is read to its end. */
function spread<Item>(items: readonly Item[], most: number): readonly Item[] {
  if (items.length <= most) return items;
  return items.filter(
    (_, nth) => Math.floor((nth * most) / items.length) !== Math.floor(((nth - 1) * most) / items.length),
  );
}

// Where a script sets no spaces, every word touches its neighbours: there a name ends where it ends.
const inWord = String.raw`[[\p{L}\p{M}\p{N}_]--[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}]]`;

function wholeWords(names: readonly string[]): RegExp {
  const any = names.map((name) => bounded(name)).join("|");
  return new RegExp(any, "v");
}

function bounded(name: string): string {
  const word = new RegExp(inWord, "v");
  const before = word.test([...name].at(0) ?? "") ? `(?<!${inWord})` : "";
  const after = word.test([...name].at(-1) ?? "") ? `(?!${inWord})` : "";
  return before + RegExp.escape(name) + after;
}

async function candidates(
  db: Db,
  tenant_id: string,
  names: readonly string[],
  { limit, offset }: { limit: number; offset: number },
): Promise<readonly Passage[]> {
  return await many(db, Passage, candidatesSql, [
    tenant_id,
    names,
    names.map(searchWords),
    names.map(isSpaced),
    sourceTypes,
    limit,
    offset,
  ]);
}

// The full-text index finds candidates, but for two kinds of names: a language's stop words ("Will"), which it does
// not hold, and those of scripts without spaces, which it may have cut elsewhere. For these, every chunk is read.
const candidatesSql = `
  with recursive used as (
    select distinct config from chunk_fts where tenant_id = $1
  ),
  name as (
    select name, words, spaced and not exists (
      select from used where numnode(phraseto_tsquery(used.config::regconfig, words)) = 0
    ) as indexed
    from unnest($2::text[], $3::text[], $4::boolean[]) as given (name, words, spaced)
  ),
  mention as (
    select fts.source_type, fts.source_id, fts.ordinal
    from used
    cross join name
    cross join lateral phraseto_tsquery(used.config::regconfig, name.words) query
    join chunk_fts fts on fts.tenant_id = $1 and fts.config = used.config and fts.words @@ query
    where name.indexed
    union
    select source_type, source_id, ordinal
    from chunks
    where tenant_id = $1 and exists (select from name where not indexed and strpos(chunks.text, name.name) > 0)
  ),
  passage as (
    select chunk.*
    from mention
    join chunks chunk on chunk.tenant_id = $1 and chunk.source_type = mention.source_type
      and chunk.source_id = mention.source_id and chunk.ordinal = mention.ordinal
    where exists (select from name where strpos(chunk.text, name.name) > 0)
  ),
  place as (
    select entity.source_type, entity.source_id, entity.source_id as root, parent_of(entity.metadata) as parent,
      array[coalesce(order_of(entity.metadata), 'infinity')] as orders
    from (select distinct source_type, source_id from passage) found
    join entities entity on entity.tenant_id = $1 and entity.source_type = found.source_type
      and entity.source_id = found.source_id
    union all
    select place.source_type, place.source_id, parent.source_id, parent_of(parent.metadata),
      coalesce(order_of(parent.metadata), 'infinity') || place.orders
    from place
    join entities parent on parent.tenant_id = $1 and parent.source_type = any ($5) and parent.source_id = place.parent
    where cardinality(place.orders) < 10
  ),
  whole_place as (
    select distinct on (source_type, source_id) *
    from place
    order by source_type, source_id, cardinality(orders) desc
  )
  select passage.source_type, passage.source_id, path, text, start_offset as start, end_offset as "end"
  from passage
  join whole_place using (source_type, source_id)
  order by orders[1], root, orders, source_type, source_id, ordinal
  limit $6 offset $7`;

import { z } from "zod";
import { type Db, many, maybeOne, prepared } from "../db.ts";
import { Entity, type Metadata, SourceType, type SubjectType } from "../pipeline.ts";
import { storableJson } from "./storable.ts";

export type EntityKey = Pick<Entity, "tenant_id" | "source_id"> & { readonly source_type: SubjectType };

/** An entity as a source gives it. The store decides its version. */
export type NewEntity = {
  readonly source_type: SourceType;
  readonly source_id: string;
  readonly title: string;
  readonly text: string;
  readonly metadata: Metadata;
};

/**
 * What an upsert did to an entity. `moved` says that only its place changed (`order`, `start`, `end`): that is
 * stored, but is no change of its content, so it makes no version, no event and no run.
 */
export const Change = z.enum(["created", "changed", "moved", "unchanged"]);
export type Change = z.infer<typeof Change>;

const Upserted = Entity.pick({ source_type: true, source_id: true, version: true, metadata: true }).extend({
  change: Change,
});
export type Upserted = z.infer<typeof Upserted>;

/** Stores entities of one tenant and says, for each, what changed. Each must be given once. */
export async function upsertEntities(
  db: Db,
  tenant_id: string,
  source: string,
  entities: readonly NewEntity[],
): Promise<readonly Upserted[]> {
  return await many(db, Upserted, upsertSql, [tenant_id, source, JSON.stringify(storableJson(entities))]);
}

// Rows are locked and made in key order: two imports of the same entities wait for each other, never deadlock.
// A deleted entity that comes back goes on counting where its events say that it stopped. Of two imports that make
// the same entity at once, neither sees the other's row before it writes: the second one's is a change of the first.
const upsertSql = `
  with given as (
    select * from jsonb_to_recordset($3) as given (
      source_type text, source_id uuid, title text, text text, metadata jsonb
    )
  ),
  stored as materialized (
    select entity.source_type, entity.source_id, entity.version, entity.title, entity.text, entity.metadata, entity.source
    from entities entity
    join given using (source_type, source_id)
    where entity.tenant_id = $1
    order by entity.source_type, entity.source_id
    for update of entity
  ),
  compared as (
    select given.*, stored.version as stored_version,
      case
        when stored.version is null then 'created'
        when ${differs("stored", "given")} then 'changed'
        when stored.metadata <> given.metadata then 'moved'
        when stored.source <> $2 then 'moved'
        else 'unchanged'
      end as change
    from given
    left join stored using (source_type, source_id)
  ),
  written as (
    insert into entities as entity (tenant_id, source_type, source_id, version, title, text, metadata, source)
    select $1, source_type, source_id,
      coalesce(stored_version, (
        select max(event.version) from events event
        where event.tenant_id = $1 and event.source_type = compared.source_type and event.source_id = compared.source_id
      ), 0) + case change when 'moved' then 0 else 1 end,
      title, text, metadata, $2
    from compared
    where change <> 'unchanged'
    order by source_type, source_id
    on conflict (tenant_id, source_type, source_id) do update set
      version    = entity.version + (${differs("entity", "excluded")})::integer,
      title      = excluded.title,
      text       = excluded.text,
      metadata   = excluded.metadata,
      source     = excluded.source,
      changed_at = case when ${differs("entity", "excluded")} then now() else entity.changed_at end
    returning source_type, source_id, version
  )
  select compared.source_type, compared.source_id, compared.metadata, compared.change,
    coalesce(written.version, compared.stored_version) as version
  from compared
  left join written using (source_type, source_id)`;

/** Do two rows differ in content, and not only in their place? */
function differs(one: string, other: string): string {
  const content = (row: string) =>
    `(${row}.title, ${row}.text, ${row}.metadata - '{order,start,end}'::text[])`;
  return `${content(one)} is distinct from ${content(other)}`;
}

const Deleted = Entity.pick({ source_type: true, source_id: true, version: true, metadata: true });
export type Deleted = z.infer<typeof Deleted>;

/** Deletes entities and, with them, their documents, chunks, vectors and enrichments. Returns those that were there. */
export async function deleteEntities(
  db: Db,
  tenant_id: string,
  keys: readonly Pick<EntityKey, "source_type" | "source_id">[],
): Promise<readonly Deleted[]> {
  return await many(db, Deleted, deleteSql, [
    tenant_id,
    keys.map((k) => k.source_type),
    keys.map((k) => k.source_id),
  ]);
}

// Locked in key order, as who stores or reads several does: two that want the same entities never wait for each other.
const deleteSql = `
  with doomed as materialized (
    select source_type, source_id from entities
    where tenant_id = $1 and (source_type, source_id) in (select * from unnest($2::text[], $3::uuid[]))
    order by source_type, source_id
    for update
  )
  delete from entities entity using doomed
  where entity.tenant_id = $1 and entity.source_type = doomed.source_type and entity.source_id = doomed.source_id
  returning entity.source_type, entity.source_id, entity.version + 1 as version, entity.metadata`;

const Locked = Entity.pick({ tenant_id: true, source_type: true, source_id: true });
export type LockedEntity = z.infer<typeof Locked>;

/**
 * Keeps entities from being deleted or changed until the transaction ends: who wants to waits for us.
 *
 * @returns those that are there.
 */
export async function lockEntities(db: Db, keys: readonly EntityKey[]): Promise<readonly LockedEntity[]> {
  if (keys.length === 0) return [];
  return await many(db, Locked, lockSql, [
    keys.map(({ tenant_id }) => tenant_id),
    keys.map(({ source_type }) => source_type),
    keys.map(({ source_id }) => source_id),
  ]);
}

const lockSql = prepared(`
  select tenant_id, source_type, source_id from entities
  where (tenant_id, source_type, source_id) in (select * from unnest($1::uuid[], $2::text[], $3::uuid[]))
  order by tenant_id, source_type, source_id
  for key share`);

const entityColumns = "tenant_id, source_type, source_id, version, title, text, metadata";

export async function readEntity(db: Db, key: EntityKey): Promise<Entity | undefined> {
  return await maybeOne(
    db,
    Entity,
    `select ${entityColumns} from entities where tenant_id = $1 and source_type = $2 and source_id = $3`,
    [key.tenant_id, key.source_type, key.source_id],
  );
}

/** The entities with this id, of any tenant and type: what a person who has only an id can mean. */
export async function findEntities(
  db: Db,
  source_id: string,
  tenant_id?: string,
): Promise<readonly Entity[]> {
  return await many(
    db,
    Entity,
    `select ${entityColumns} from entities
     where source_id = $1 and ($2::uuid is null or tenant_id = $2)
     order by tenant_id, source_type`,
    [source_id, tenant_id ?? null],
  );
}

const Known = z.object({
  source_type: SourceType,
  source_id: z.guid(),
  parent_id: z.string().nullable(),
  order: z.coerce.number().nullable(),
  digest: z.string().nullable(),
});
export type Known = z.infer<typeof Known>;

/** What a source gave before, without its texts: enough to tell what is gone and what only moved. */
export async function entitiesOfSource(db: Db, tenant_id: string, source: string): Promise<readonly Known[]> {
  return await many(
    db,
    Known,
    `select source_type, source_id, metadata ->> 'parent_id' as parent_id,
       order_of(metadata) as "order", metadata ->> 'digest' as digest
     from entities
     where tenant_id = $1 and source = $2`,
    [tenant_id, source],
  );
}

/** The entities that name this one as their parent, in their order. */
export async function childrenOf(db: Db, tenant_id: string, parent_id: string): Promise<readonly Entity[]> {
  return await many(
    db,
    Entity,
    `select ${entityColumns} from entities
     where tenant_id = $1 and metadata ? 'parent_id' and metadata ->> 'parent_id' = $2
     order by order_of(metadata) nulls last, title, source_id`,
    [tenant_id, parent_id],
  );
}

const TypeCount = z.object({
  source_type: SourceType,
  entities: z.coerce.number(),
  characters: z.coerce.number(),
});
export type TypeCount = z.infer<typeof TypeCount>;

export async function countEntities(db: Db, tenant_id?: string): Promise<readonly TypeCount[]> {
  return await many(
    db,
    TypeCount,
    `select source_type, count(*) as entities, sum(length(text)) as characters
     from entities where $1::uuid is null or tenant_id = $1
     group by source_type order by source_type`,
    [tenant_id ?? null],
  );
}

/** All entities of one type, in their order. */
export async function entitiesOfType(
  db: Db,
  tenant_id: string,
  type: SourceType,
): Promise<readonly Entity[]> {
  return await many(
    db,
    Entity,
    `select ${entityColumns} from entities
     where tenant_id = $1 and source_type = $2
     order by order_of(metadata) nulls last, title, source_id`,
    [tenant_id, type],
  );
}

export const ListedEntity = Entity.omit({ text: true }).extend({
  title: z.string(),
  metadata: z.record(z.string(), z.unknown()),
  source: z.string(),
  created_at: z.date(),
  changed_at: z.date(),
});
export type ListedEntity = z.infer<typeof ListedEntity>;

export type EntityList = {
  readonly source_type?: SourceType | undefined;
  /** The entity that the list goes on after. Defaults to none: from the first on. */
  readonly after?: Pick<EntityKey, "source_type" | "source_id"> | undefined;
  readonly limit: number;
};

/** Entities of a tenant by type and id, without their texts. */
export async function listEntities(
  db: Db,
  tenant_id: string,
  { source_type, after, limit }: EntityList,
): Promise<readonly ListedEntity[]> {
  return await many(
    db,
    ListedEntity,
    `select tenant_id, source_type, source_id, version, title, metadata, source, created_at, changed_at
     from entities
     where tenant_id = $1 and ($2::text is null or source_type = $2)
       and ($3::text is null or (source_type, source_id) > ($3, $4::uuid))
     order by source_type, source_id
     limit $5`,
    [tenant_id, source_type ?? null, after?.source_type ?? null, after?.source_id ?? null, limit],
  );
}

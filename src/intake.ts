import { deleteCheckpointsOfDead } from "../checkpoints/delete.ts";
import { contendedTransaction, type Db, type Pool } from "./db.ts";
import { cancelRunsOf } from "./ledger/cancel.ts";
import { forgetEntities } from "./ledger/forget.ts";
import { publish, withMentions } from "./publish.ts";
import type { Registry } from "./registry.ts";
import type { Routable } from "./router.ts";
import {
  type Deleted,
  deleteEntities,
  type EntityKey,
  type NewEntity,
  type Upserted,
  upsertEntities,
} from "./store/entities.ts";
import { formerMentions } from "./store/mentions.ts";

export type Intake = {
  readonly tenant_id: string;
  /** Where the entities come from. */
  readonly source: string;
  /** Each entity once. */
  readonly entities: readonly NewEntity[];
  /** Are pipelines to look again at what has not changed? Each then does what is stale or missing. Defaults to no. */
  readonly again?: boolean;
};

/** Tells that an entity is new or has changed. */
export function changedEvent(tenant_id: string, entity: Upserted): Routable {
  return { ...entity, tenant_id, event: "entity.changed", metadata: withMentions(entity.metadata) };
}

/** Takes entities in: what is new or has changed is stored, told as `entity.changed` and enqueued, in one transaction. */
export async function acceptEntities(
  pool: Pool,
  registry: Registry,
  intake: Intake,
): Promise<readonly Upserted[]> {
  return await contendedTransaction(pool, (db) => acceptEntitiesIn(db, registry, intake));
}

/** As `acceptEntities`, in the caller's transaction, which others may cross: see `contendedTransaction`. */
export async function acceptEntitiesIn(
  db: Db,
  registry: Registry,
  { tenant_id, source, entities, again = false }: Intake,
): Promise<readonly Upserted[]> {
  const upserted = await upsertEntities(db, tenant_id, source, entities);
  const changed = upserted.filter(({ change }) => again || change === "created" || change === "changed");
  await publish(
    db,
    registry,
    changed.map((entity) => changedEvent(tenant_id, entity)),
  );
  return upserted;
}

type Key = Pick<EntityKey, "source_type" | "source_id">;

/** Takes entities out, with all that was made of them and all that was still to be done, and tells `entity.deleted`. */
export async function removeEntities(
  pool: Pool,
  registry: Registry,
  tenant_id: string,
  keys: readonly Key[],
): Promise<readonly Deleted[]> {
  return await contendedTransaction(pool, (db) => removeEntitiesIn(db, registry, tenant_id, keys));
}

/** As `removeEntities`, in the caller's transaction, which others may cross: see `contendedTransaction`. */
export async function removeEntitiesIn(
  db: Db,
  registry: Registry,
  tenant_id: string,
  keys: readonly Key[],
): Promise<readonly Deleted[]> {
  const spokenOf = await formerMentions(
    db,
    keys.map((key) => ({ ...key, tenant_id })),
  );
  const deleted = await deleteEntities(db, tenant_id, keys);
  await cancelRunsOf(db, tenant_id, deleted);
  await forgetEntities(db, tenant_id, deleted);
  await deleteCheckpointsOfDead(db, tenant_id, deleted);
  await publish(
    db,
    registry,
    deleted.map((entity) => ({
      ...entity,
      tenant_id,
      event: "entity.deleted",
      metadata: withMentions(entity.metadata, spokenOf({ ...entity, tenant_id })),
    })),
  );
  return deleted;
}

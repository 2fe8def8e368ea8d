import type { Db } from "../db.ts";
import { LoregraphError } from "../errors.ts";
import type { Entity } from "../pipeline.ts";
import { findEntities } from "../store/entities.ts";

/** The entity that a person means by its id. Throws NOT_FOUND, and INPUT_INVALID where several tenants have it. */
export async function theEntity(db: Db, id: string, tenant: string | undefined): Promise<Entity> {
  const entity = await oneEntity(db, id, tenant);
  if (entity) return entity;
  throw new LoregraphError("NOT_FOUND", `there is no entity ${id}${tenant ? ` of tenant ${tenant}` : ""}`);
}

/** The same, or undefined where there is none. */
export async function oneEntity(db: Db, id: string, tenant: string | undefined): Promise<Entity | undefined> {
  const [entity, other] = await findEntities(db, id, tenant);
  if (other && other.tenant_id !== entity?.tenant_id) {
    throw new LoregraphError("INPUT_INVALID", `several tenants have an entity ${id}; name one by --tenant`);
  }
  return entity;
}

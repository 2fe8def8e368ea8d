import { z } from "zod";
import { type Db, many } from "../db.ts";
import { LoregraphError } from "../errors.ts";

/** The tenant that was named, or the only one that there is. Throws INPUT_INVALID where there are several. */
export async function theTenant(db: Db, named: string | undefined): Promise<string> {
  if (named !== undefined) return named;
  const rows = await many(db, z.object({ tenant_id: z.guid() }), tenantsSql);
  const [first, second] = rows;
  if (first === undefined)
    throw new LoregraphError("NOT_FOUND", "there is no tenant yet; import something first");
  if (second === undefined) return first.tenant_id;
  throw new LoregraphError(
    "INPUT_INVALID",
    `there are several tenants; name one by --tenant, such as ${first.tenant_id}`,
  );
}

// The first tenant, and the first after it: two look-ups in the primary key, however many entities there are.
const tenantsSql = `
  with first as (select tenant_id from entities order by tenant_id limit 1)
  select tenant_id from first
  union all
  (
    select entities.tenant_id from entities, first
    where entities.tenant_id > first.tenant_id order by entities.tenant_id limit 1
  )`;

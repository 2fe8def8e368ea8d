import { z } from "zod";
import { type Db, many } from "../db.ts";

const Row = z.object({ tenant_id: z.guid(), flags: z.record(z.string(), z.boolean().catch(false)) });

/** The feature flags of tenants; one without a row has none. */
export async function readFlags(
  db: Db,
  tenants: readonly string[],
): Promise<ReadonlyMap<string, Readonly<Record<string, boolean>>>> {
  const rows = await many(
    db,
    Row,
    "select tenant_id, flags from tenant_controls where tenant_id = any ($1)",
    [tenants],
  );
  return new Map(rows.map(({ tenant_id, flags }) => [tenant_id, flags]));
}

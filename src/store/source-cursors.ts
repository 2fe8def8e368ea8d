import { z } from "zod";
import { type Db, execute, maybeOne } from "../db.ts";

/** Where the changes of a source go on for this tenant, or undefined where nothing is known of it yet. */
export async function readSourceCursor(
  db: Db,
  tenant_id: string,
  source: string,
): Promise<string | undefined> {
  const row = await maybeOne(
    db,
    z.object({ cursor: z.string() }),
    "select cursor from source_cursors where tenant_id = $1 and source = $2",
    [tenant_id, source],
  );
  return row?.cursor;
}

/** Says where the changes of a source go on: everything before it has been taken in. */
export async function writeSourceCursor(
  db: Db,
  tenant_id: string,
  source: string,
  cursor: string,
): Promise<void> {
  await execute(
    db,
    `insert into source_cursors (tenant_id, source, cursor) values ($1, $2, $3)
     on conflict (tenant_id, source) do update set cursor = excluded.cursor, changed_at = now()`,
    [tenant_id, source, cursor],
  );
}

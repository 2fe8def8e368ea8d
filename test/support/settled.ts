import { expect, vi } from "vitest";
import { z } from "zod";
import { type Db, one } from "../../src/db.ts";

const Settling = z.object({ newest: z.coerce.number(), oldest_writer: z.coerce.number() });

/**
 * Waits until the events of a tenant can be read: until no transaction of the whole server is left that began before
 * the newest of them was written, those of other test files among them.
 */
export async function eventsSettled(db: Db, tenant_id: string): Promise<void> {
  await vi.waitFor(async () => {
    const { newest, oldest_writer } = await one(
      db,
      Settling,
      `select coalesce(max(transaction_id), 0) as newest, pg_snapshot_xmin(pg_current_snapshot())::text as oldest_writer
       from events where tenant_id = $1`,
      [tenant_id],
    );
    expect(oldest_writer).toBeGreaterThan(newest);
  }, 15_000);
}

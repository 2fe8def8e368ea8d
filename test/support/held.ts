import { onTestFinished, vi } from "vitest";
import type { TestDatabase } from "./database.ts";

/**
 * Makes whoever writes the 150th scene of a tenant wait, until released. An import of a chapter of so many scenes
 * then stands still with its first page committed and its second one not.
 */
export async function holdImport({ pool }: TestDatabase, tenant_id: string) {
  await pool.query(`
    create or replace function wait_at_gate() returns trigger language plpgsql as $$
      begin perform pg_advisory_xact_lock(4711); return new; end $$;
    create or replace trigger gate before insert on entities for each row
      when (new.tenant_id = '${tenant_id}' and new.source_type = 'scene' and new.metadata ->> 'order' = '150')
      execute function wait_at_gate()`);
  const holder = await pool.connect();
  await holder.query("select pg_advisory_lock(4711)");
  let held = true;
  const release = async () => {
    if (!held) return;
    held = false;
    await holder.query("select pg_advisory_unlock(4711)");
    holder.release();
  };
  onTestFinished(release);
  return {
    release,
    /** Resolves once so many connections wait, here or for each other. */
    waiting: (connections: number) => untilWaiting(pool, connections),
    /** Ends the connections that wait, as a server that goes away does. */
    async terminate() {
      for (const pid of await waiting(pool)) await pool.query("select pg_terminate_backend($1)", [pid]);
    },
  };
}

/** Resolves once so many connections wait for a lock. */
export async function untilWaiting(pool: TestDatabase["pool"], connections: number): Promise<void> {
  await vi.waitUntil(async () => (await waiting(pool)).length >= connections, { timeout: 15_000 });
}

async function waiting(pool: TestDatabase["pool"]): Promise<readonly number[]> {
  const { rows } = await pool.query(
    "select pid from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
  );
  return rows.map(({ pid }) => pid);
}

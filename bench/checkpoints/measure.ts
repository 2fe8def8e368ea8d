import { setImmediate as nextTurn } from "node:timers/promises";
import type { Pool } from "../../src/db.ts";
import { chain } from "./graph.ts";
import { type Contender, type Durability, makeThreads } from "./savers.ts";

export type Case = { readonly nodes: number; readonly kB: number; readonly durability: Durability };

/** What a run costs: this process's processor time, and what Postgres was asked to do. */
export type Cost = {
  readonly runs_per_second: number;
  readonly cpu_ms: number;
  readonly statements: number;
  readonly rows: number;
  readonly bytes: number;
  readonly wal_bytes: number;
};

const atATime = 50;

/** Runs the graph so many times, fifty at a time, each with a thread of its own. */
export async function measure(
  pool: Pool,
  contender: Contender,
  { nodes, kB, durability }: Case,
  runs: number,
): Promise<Cost> {
  await pool.query("truncate pipeline_runs, checkpoints, checkpoint_blobs, checkpoint_writes");
  const threads = (await makeThreads(pool, runs)).values();
  const lend = contender.open(pool, durability);
  const text = "A lamp, a gull, a rope, a bell. ".repeat(kB * 32);
  const counted = countStatements(pool);
  const [wal, cpu, started] = [await walAt(pool), process.cpuUsage(), performance.now()];
  const slot = async () => {
    for (const thread of threads) {
      const { saver, end } = lend(thread);
      const graph = chain(nodes).compile({ checkpointer: saver });
      await graph.invoke(
        { text },
        { configurable: { thread_id: thread.id }, durability, recursionLimit: 100 },
      );
      end();
    }
  };
  await Promise.all(Array.from({ length: atATime }, slot));
  const seconds = (performance.now() - started) / 1_000;
  const { user, system } = process.cpuUsage(cpu);
  const statements = counted.stop() - 1; // the one that asks for the log's position
  const each = (sum: number) => sum / runs;
  return {
    runs_per_second: runs / seconds,
    cpu_ms: each((user + system) / 1_000),
    statements: each(statements),
    wal_bytes: each((await walAt(pool)) - wal),
    ...(await stored(pool, runs)),
  };
}

/** Every statement that a connection of the pool is asked for. */
function countStatements(pool: Pool): { stop(): number } {
  let count = 0;
  const counted = new Set<{ query: unknown }>();
  const listen = (client: { query: (...args: never[]) => unknown }) => {
    if (counted.has(client)) return;
    counted.add(client);
    const query = client.query;
    Object.assign(client, {
      query(...args: never[]) {
        count++;
        return query.apply(client, args);
      },
    });
  };
  pool.on("acquire", listen);
  return {
    stop() {
      pool.off("acquire", listen);
      for (const client of counted) Reflect.deleteProperty(client, "query");
      return count;
    },
  };
}

async function walAt(pool: Pool): Promise<number> {
  await nextTurn();
  const { rows } = await pool.query("select pg_current_wal_insert_lsn() - '0/0' as bytes");
  return Number(rows[0].bytes);
}

async function stored(pool: Pool, runs: number): Promise<Pick<Cost, "rows" | "bytes">> {
  const { rows } = await pool.query(`
    select (select count(*) from checkpoints) + (select count(*) from checkpoint_blobs)
        + (select count(*) from checkpoint_writes) as rows,
      pg_total_relation_size('checkpoints') + pg_total_relation_size('checkpoint_blobs')
        + pg_total_relation_size('checkpoint_writes') as bytes`);
  return { rows: Number(rows[0].rows) / runs, bytes: Number(rows[0].bytes) / runs };
}

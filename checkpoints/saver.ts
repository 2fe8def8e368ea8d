import { setTimeout as delay, setImmediate as nextTurn } from "node:timers/promises";
import { PostgresSaver } from "@langchain/langgraph-checkpoint-postgres";
import type pg from "pg";
import { isConnectionError, orUnavailable } from "../src/db.ts";
import { LoregraphError } from "../src/errors.ts";

/** What names the attempt that writes. */
export type Attempt = { readonly tenant_id: string; readonly id: string; readonly lease_token: string };

/**
 * LangGraph's own Postgres checkpointer for one attempt, fenced: each of its transactions first locks the run's row
 * by the attempt's lease, so that an attempt that lost its lease writes nothing. Throws LEASE_LOST then. `stamp`, what
 * made them, stands in the metadata of its checkpoints.
 */
export function fencedSaver(pool: pg.Pool, schema: string, attempt: Attempt, stamp: string): FencedSaver {
  return new FencedSaver(fencedPool(pool, attempt), schema, stamp);
}

export class FencedSaver extends PostgresSaver {
  readonly #stamp: string;
  readonly #writing = new Set<Promise<unknown>>();

  constructor(pool: pg.Pool, schema: string, stamp: string) {
    super(pool, undefined, { schema });
    this.#stamp = stamp;
  }

  // LangGraph stores nothing of the metadata that a graph is invoked with, so the stamp is added here.
  override async put(...[config, checkpoint, metadata, versions]: Parameters<PostgresSaver["put"]>) {
    const stamped = { ...metadata, stamp: this.#stamp };
    return await this.#noted(insisting(() => super.put(config, checkpoint, stamped, versions)));
  }

  override async putWrites(...write: Parameters<PostgresSaver["putWrites"]>) {
    await this.#noted(insisting(() => super.putWrites(...write)));
  }

  override async getTuple(...[config]: Parameters<PostgresSaver["getTuple"]>) {
    return await insisting(() => super.getTuple(config));
  }

  /** Resolves when nothing is being written. An aborted graph ends at once, and leaves its last writes behind. */
  async settled(): Promise<void> {
    while (this.#writing.size > 0) {
      await Promise.allSettled(this.#writing);
      await nextTurn(); // the writes of a run are chained: the next one begins when the one before has ended
    }
  }

  async #noted<Value>(write: Promise<Value>): Promise<Value> {
    this.#writing.add(write);
    try {
      return await write;
    } finally {
      this.#writing.delete(write);
    }
  }
}

/**
 * A lost connection must not end a graph that may be waiting for a costly answer: five tries, over three seconds, and
 * then DATABASE_UNAVAILABLE.
 */
async function insisting<Value>(work: () => Promise<Value>): Promise<Value> {
  for (let tries = 1; ; tries++) {
    try {
      return await work();
    } catch (error) {
      if (!isConnectionError(error)) throw error;
      if (tries === 5) return await orUnavailable(() => Promise.reject(error));
      await delay(100 * 2 ** tries);
    }
  }
}

// PostgresSaver takes a pool and nothing else, and opens its transactions itself: so the fence stands in its pool.
function fencedPool(pool: pg.Pool, attempt: Attempt): pg.Pool {
  return new Proxy(pool, {
    get(target, property) {
      if (property === "connect") return async () => fencedClient(await target.connect(), attempt);
      const value = Reflect.get(target, property, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

function fencedClient(client: pg.PoolClient, attempt: Attempt): pg.PoolClient {
  return new Proxy(client, {
    get(target, property) {
      if (property === "query")
        return (text: string, values?: unknown[]) => fencedQuery(target, attempt, text, values);
      const value = Reflect.get(target, property, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

async function fencedQuery(client: pg.PoolClient, attempt: Attempt, text: string, values?: unknown[]) {
  const result = await client.query(text, values);
  if (text === "BEGIN") await assertLease(client, attempt);
  return result;
}

// A share lock: a reaper's update waits until the checkpoint is committed, so there is no gap between check and write.
async function assertLease(client: pg.PoolClient, { tenant_id, id, lease_token }: Attempt): Promise<void> {
  const { rowCount } = await client.query(
    "select from pipeline_runs where tenant_id = $1 and id = $2 and lease_token = $3 for share",
    [tenant_id, id, lease_token],
  );
  if (rowCount === 0) throw new LoregraphError("LEASE_LOST", `run ${id}: another worker holds its lease now`);
}

import { PostgresSaver } from "@langchain/langgraph-checkpoint-postgres";
import type pg from "pg";
import { LoregraphError } from "../src/errors.ts";

/** What names the attempt that writes. */
export type Attempt = { readonly tenant_id: string; readonly id: string; readonly lease_token: string };

/**
 * LangGraph's own Postgres checkpointer for one attempt, fenced: each of its transactions first locks the run's row
 * by the attempt's lease, so that an attempt that lost its lease writes nothing. Throws LEASE_LOST then. `stamp`, what
 * made them, stands in the metadata of its checkpoints.
 */
export function fencedSaver(pool: pg.Pool, schema: string, attempt: Attempt, stamp: string): PostgresSaver {
  return new StampedSaver(fencedPool(pool, attempt), schema, stamp);
}

// LangGraph stores nothing of the metadata that it is invoked with, so the stamp is added where checkpoints are put.
class StampedSaver extends PostgresSaver {
  readonly #stamp: string;

  constructor(pool: pg.Pool, schema: string, stamp: string) {
    super(pool, undefined, { schema });
    this.#stamp = stamp;
  }

  override async put(...[config, checkpoint, metadata, versions]: Parameters<PostgresSaver["put"]>) {
    return await super.put(config, checkpoint, { ...metadata, ...{ stamp: this.#stamp } }, versions);
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

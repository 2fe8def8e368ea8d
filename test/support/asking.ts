import type pg from "pg";
import type { Pool } from "../../src/db.ts";

export type Statement = string | pg.QueryConfig<unknown[]>;

/** A pool of which each connection does `before` before it sends a statement, one after the other as they were asked for. */
export function poolDoing(
  pool: Pool,
  before: (client: pg.PoolClient, statement: Statement) => Promise<unknown>,
): Pool {
  const connect = async () => {
    const client = await pool.connect();
    let last: Promise<unknown> = Promise.resolve();
    const query = (statement: Statement) => {
      const send = async () => {
        await before(client, statement);
        return await client.query(statement);
      };
      const sent = last.then(send, send);
      last = sent;
      return sent;
    };
    return { query, release: (broken?: Error) => client.release(broken) };
  };
  return Object.create(pool, { connect: { value: connect } });
}

import type { PoolClient } from "pg";
import { openPool, type Pool } from "../db.ts";

/** A process that says nothing for so long has lost what it holds, in seconds: it may be frozen for good. */
const silenceSeconds = 30;

/**
 * Which reingests this process produces, so that no two ask a source for the same pages. Session advisory locks of
 * one connection: where that ends, all of them are free again. What is held for no longer tells its signal.
 */
export class Holds {
  readonly #pool: Pool;
  readonly #held = new Map<string, AbortController>();
  #client: PoolClient | undefined;

  constructor(url: string, schema: string) {
    this.#pool = openPool(url, { schema, max: 1, name: "loregraph producer locks", silentMs: 10_000 });
  }

  /** Takes hold of a reingest, or answers undefined where another process has it, or this one. */
  async take(id: string): Promise<AbortSignal | undefined> {
    if (this.#held.has(id)) return undefined;
    const client = await this.#connected();
    const { rows } = await client.query(`select pg_try_advisory_lock(${keyOf}) as taken`, [id]);
    if (rows[0]?.taken !== true || client !== this.#client) return undefined;
    const lost = new AbortController();
    this.#held.set(id, lost);
    return lost.signal;
  }

  async free(id: string): Promise<void> {
    if (!this.#held.delete(id)) return;
    await this.#client?.query(`select pg_advisory_unlock(${keyOf})`, [id]);
  }

  /** Says that this process lives. */
  async renew(): Promise<void> {
    await this.#client?.query("select");
  }

  async end(): Promise<void> {
    this.#lose(this.#client);
    await this.#pool.end();
  }

  async #connected(): Promise<PoolClient> {
    if (this.#client) return this.#client;
    const client = await this.#pool.connect();
    this.#client = client;
    client.once("error", () => this.#lose(client)).once("end", () => this.#lose(client));
    try {
      await client.query(`set idle_session_timeout = '${silenceSeconds}s'`);
    } catch (error) {
      this.#lose(client); // kept, it would be the only one for ever
      throw error;
    }
    return client;
  }

  #lose(client: PoolClient | undefined): void {
    if (client === undefined || client !== this.#client) return;
    this.#client = undefined;
    client.release(true);
    for (const lost of this.#held.values()) lost.abort();
    this.#held.clear();
  }
}

const keyOf = "hashtext(current_schema() || '.reingest'), hashtext($1)";

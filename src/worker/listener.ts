import pg from "pg";
import { z } from "zod";
import { pause } from "../pause.ts";

export type Heard = {
  /** There may be something to claim; of one kind of work, or of any where it is empty. */
  readonly onRuns: (work: string) => void;
  /** Somebody asks to cancel this run. */
  readonly onCancel: (run: string) => void;
  /** The connection was lost; it is being made again. */
  readonly onLost: (error: unknown) => void;
};

/**
 * Listens for the ledger's notifications on a connection of its own, and makes it again whenever it is lost. What was
 * said meanwhile is lost too, so it calls `onRuns` after every start; the heartbeat makes up for lost cancels.
 */
export class Listener {
  readonly #url: string;
  readonly #schema: string;
  readonly #heard: Heard;
  readonly #stopped = new AbortController();
  #done: Promise<void> = Promise.resolve();

  constructor(url: string, schema: string, heard: Heard) {
    this.#url = url;
    this.#schema = schema;
    this.#heard = heard;
  }

  start(): void {
    this.#done = this.#keepListening();
  }

  async stop(): Promise<void> {
    this.#stopped.abort();
    await this.#done;
  }

  async #keepListening(): Promise<void> {
    for (let failures = 0; !this.#stopped.signal.aborted; failures++) {
      try {
        await this.#listenOnce(() => {
          failures = 0;
        });
      } catch (error) {
        this.#heard.onLost(error);
      }
      if (!this.#stopped.signal.aborted)
        await pause(Math.min(5_000, 100 * 2 ** failures), this.#stopped.signal);
    }
  }

  async #listenOnce(onListening: () => void): Promise<void> {
    const client = new pg.Client({
      connectionString: this.#url,
      application_name: "loregraph listener",
      keepAlive: true,
      connectionTimeoutMillis: 10_000,
    });
    const ended = ending(client, this.#stopped.signal);
    client.on("notification", ({ channel, payload }) => this.#hear(channel, payload ?? ""));
    try {
      await client.connect();
      await client.query(`listen ${this.#schema}_runs; listen ${this.#schema}_cancels`);
      onListening();
      this.#heard.onRuns("");
      await ended;
    } finally {
      await client.end().catch(() => {}); // a lost connection cannot be closed any more
    }
  }

  #hear(channel: string, payload: string): void {
    if (channel === `${this.#schema}_runs`) this.#heard.onRuns(payload);
    else if (z.guid().safeParse(payload).success) this.#heard.onCancel(payload);
  }
}

/** Resolves when told to stop, rejects when the connection breaks. */
function ending(client: pg.Client, signal: AbortSignal): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  client.on("error", reject);
  client.on("end", () => reject(new Error("the connection was closed")));
  signal.addEventListener("abort", () => resolve(), { once: true });
  promise.catch(() => {}); // it is awaited only once the connection stands
  return promise;
}

import type { Pool } from "../src/db.ts";
import { LoregraphError } from "../src/errors.ts";
import { leaseLost } from "./attempt.ts";
import { insisting } from "./insist.ts";
import { type Rows, weightOf } from "./rows.ts";
import { writeRowsOf } from "./write.ts";

export type WriterOptions = {
  /** The most statements at a time. Defaults to 2: while they are on their way, what comes gathers for the next. */
  readonly statements?: number | undefined;
  /** The most bytes that wait to be written; who brings more waits with them. Defaults to 64 MiB. */
  readonly queueBytes?: number | undefined;
};

type Waiting = {
  readonly rows: Rows;
  readonly weight: number;
  readonly done: PromiseWithResolvers<void>;
};

/** A statement is no larger than this, unless one put is: in bytes, and in puts. */
const batchBytes = 4 * 2 ** 20;
const batchUnits = 256;

/**
 * Writes the checkpoints of all graphs of a process: what is due at a moment goes to Postgres as one statement. The
 * rows of one thread are committed in the order in which they came. It holds no connection while nothing is written.
 */
export class CheckpointWriter {
  readonly pool: Pool;
  readonly #statements: number;
  readonly #queueBytes: number;
  #queue: Waiting[] = [];
  #queued = 0;
  #inFlight = 0;
  #scheduled = false;
  readonly #busy = new Set<string>();
  #room: { readonly weight: number; readonly enter: () => void }[] = [];

  constructor(pool: Pool, { statements = 2, queueBytes = 64 * 2 ** 20 }: WriterOptions = {}) {
    this.pool = pool;
    this.#statements = statements;
    this.#queueBytes = queueBytes;
  }

  /**
   * Resolves when the rows are committed. A lost connection is tried again, five times. Throws LEASE_LOST where
   * the attempt no longer holds its run, and DATABASE_UNAVAILABLE; nothing is written then.
   */
  async write(rows: Rows): Promise<void> {
    const weight = weightOf(rows);
    if (this.#room.length > 0 || !this.#fits(weight)) await this.#untilRoom(weight);
    else this.#queued += weight;
    const done = Promise.withResolvers<void>();
    this.#queue.push({ rows, weight, done });
    this.#schedule();
    await done.promise;
  }

  #fits(weight: number): boolean {
    return this.#queued === 0 || this.#queued + weight <= this.#queueBytes;
  }

  /** Whoever came first enters first. */
  async #untilRoom(weight: number): Promise<void> {
    await new Promise<void>((enter) => this.#room.push({ weight, enter }));
  }

  #letIn(): void {
    for (let next = this.#room[0]; next && this.#fits(next.weight); next = this.#room[0]) {
      this.#room.shift();
      this.#queued += next.weight;
      next.enter();
    }
  }

  /** In the next turn, so that what is put in this one goes together. */
  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      while (this.#inFlight < this.#statements) {
        const batch = this.#take();
        if (batch.length === 0) return;
        void this.#send(batch);
      }
    });
  }

  /**
   * The next statement's rows: none of a thread that is being written, nor any before an earlier one of its thread, nor
   * of two attempts at one run, of which one has lost it.
   */
  #take(): readonly Waiting[] {
    const batch: Waiting[] = [];
    const blocked = new Set(this.#busy);
    const leases = new Map<string, string | undefined>();
    let room = batchBytes;
    this.#queue = this.#queue.filter((waiting) => {
      const { thread_id, attempt } = waiting.rows;
      const fits = batch.length === 0 || (waiting.weight <= room && batch.length < batchUnits);
      const same = !leases.has(thread_id) || leases.get(thread_id) === attempt?.lease_token;
      if (!fits || !same) blocked.add(thread_id);
      if (blocked.has(thread_id)) return true;
      batch.push(waiting);
      leases.set(thread_id, attempt?.lease_token);
      room -= waiting.weight;
      return false;
    });
    for (const thread_id of leases.keys()) this.#busy.add(thread_id);
    return batch;
  }

  async #send(batch: readonly Waiting[]): Promise<void> {
    this.#inFlight++;
    await this.#commit(batch);
    this.#inFlight--;
    for (const { rows, weight } of batch) {
      this.#busy.delete(rows.thread_id);
      this.#queued -= weight;
    }
    this.#letIn();
    this.#schedule();
  }

  /** Where the database refuses rows, each thread's go alone, so that no other pays for them. */
  async #commit(batch: readonly Waiting[]): Promise<void> {
    try {
      const written = await insisting(() =>
        writeRowsOf(
          this.pool,
          batch.map(({ rows }) => rows),
        ),
      );
      for (const { rows, done } of batch) {
        if (written.has(rows.thread_id)) done.resolve();
        else done.reject(leaseLost(rows.thread_id));
      }
    } catch (error) {
      if (batch.length > 1 && !isUnavailable(error))
        for (const waiting of batch) await this.#commit([waiting]);
      else for (const { done } of batch) done.reject(error);
    }
  }
}

function isUnavailable(error: unknown): boolean {
  return error instanceof LoregraphError && error.code === "DATABASE_UNAVAILABLE";
}

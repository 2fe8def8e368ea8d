import type { Pool } from "../../src/db.ts";

/** A queue in a schema of its own. Each is given the settings that serve it best and still acknowledge durably. */
export type Contender = {
  readonly name: string;
  readonly settings: string;
  /** Is it only asked how long a job waits? Defaults to no. */
  readonly onlyWaits?: boolean;
  /** Makes so many jobs that do nothing, a thousand to a statement. */
  enqueue(count: number): Promise<void>;
  /** Works on them until the last one is acknowledged: its end is committed, and on the disk. */
  burnDown(count: number): Promise<void>;
  /** Enqueues so many jobs one by one, each once the one before has begun, and gives how long each waited, in milliseconds. */
  wait(times: number): Promise<readonly number[]>;
  /** Forgets what it did, so that no round pays for the one before. */
  forget(): Promise<void>;
  end(): Promise<void>;
};

export const page = 1_000;

/** How long an idle queue is left alone between two jobs, in milliseconds. */
export const idleMs = 20;

/** Resolves once the statement, `select exists (…)`, answers no. */
export async function untilNone(pool: Pool, exists: string): Promise<void> {
  for (;;) {
    const { rows } = await pool.query({ text: exists, rowMode: "array" });
    if (rows[0]?.[0] === false) return;
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** Waits for the job that was enqueued last to begin. */
export function beginnings() {
  let begun = Promise.withResolvers<number>();
  return {
    note: () => begun.resolve(performance.now()),
    /** How long after it was committed the job began; it may begin before we hear of our own commit. */
    async waitOf(enqueue: () => Promise<unknown>): Promise<number> {
      begun = Promise.withResolvers<number>();
      await enqueue();
      const committed = performance.now();
      return Math.max(0, (await begun.promise) - committed);
    },
  };
}

import type { Db } from "../db.ts";
import { type AttemptTally, addTallies, durationBounds } from "../ledger/tallies.ts";
import type { Usage } from "../pipeline.ts";

export type Measured = {
  readonly pipeline: string;
  readonly ending: string;
  readonly seconds: number;
  readonly usage: Usage;
};

/**
 * Adds up what the attempts of this process were like, and writes it now and then: a statement every few seconds, not
 * one an attempt. What was not written yet is lost with a killed process; the ledger has it all the same.
 */
export class Meter {
  #tallies = new Map<string, AttemptTally>();

  add({ pipeline, ending, seconds, usage }: Measured): void {
    const { tokens_cached: _, vectors_reused: __, ...counted } = usage;
    const buckets = durationBounds.map((bound) => Number(seconds <= bound));
    this.#put({ pipeline, ending, attempts: 1, seconds, buckets, ...counted });
  }

  /** Writes what was added since the last time; where that fails, the next time writes it too. */
  async write(db: Db): Promise<void> {
    const tallies = [...this.#tallies.values()];
    this.#tallies = new Map();
    try {
      await addTallies(db, tallies);
    } catch (error) {
      for (const tally of tallies) this.#put(tally);
      throw error;
    }
  }

  #put(tally: AttemptTally): void {
    const key = `${tally.pipeline} ${tally.ending}`;
    const before = this.#tallies.get(key);
    this.#tallies.set(key, before ? sum(before, tally) : tally);
  }
}

function sum(a: AttemptTally, b: AttemptTally): AttemptTally {
  return {
    pipeline: a.pipeline,
    ending: a.ending,
    attempts: a.attempts + b.attempts,
    seconds: a.seconds + b.seconds,
    buckets: a.buckets.map((n, at) => n + (b.buckets[at] ?? 0)),
    model_calls: a.model_calls + b.model_calls,
    embedding_calls: a.embedding_calls + b.embedding_calls,
    tokens_in: a.tokens_in + b.tokens_in,
    tokens_out: a.tokens_out + b.tokens_out,
    embedding_tokens: a.embedding_tokens + b.embedding_tokens,
    cost_usd: a.cost_usd + b.cost_usd,
  };
}

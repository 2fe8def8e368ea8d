import { type ClaimOptions, claimRuns } from "../ledger/claim.ts";
import { ClaimMemory } from "../ledger/claim-memory.ts";
import { wakeWorkers } from "../ledger/enqueue.ts";
import { releaseRuns } from "../ledger/release.ts";
import type { ClaimedRun } from "../ledger/run.ts";
import { surveyLanes } from "../ledger/survey.ts";
import { keptFree } from "../ledger/workers.ts";
import { pause } from "../pause.ts";
import type { Bell } from "./bell.ts";
import type { Context } from "./context.ts";
import { keepDoing, kindOf } from "./loop.ts";
import type { Slots } from "./slots.ts";

export type Claiming = {
  readonly context: Pick<Context, "pool" | "log">;
  readonly as: Omit<ClaimOptions, "limit" | "bulk" | "memory">;
  readonly slots: Slots;
  /** Rings when there may be something to claim. */
  readonly bell: Bell;
  /** The longest wait between two looks at an empty queue, in milliseconds. */
  readonly pollMs: number;
  /** Begins an attempt at what was claimed, by a statement that was sent after `askedAt` of `performance.now()`. */
  readonly onClaimed: (run: ClaimedRun, askedAt: number) => void;
};

/** A timer's millisecond is not quite the database's: a look that comes too soon is in vain. */
const clocksMs = 10;

/** How often it is looked where each lane begins, and of how much time that may take its share: one part in so many. */
const survey = { everyMs: 2_000, share: 50 };

/** A run that a transaction of less than this puts into a lane is seen at once, in milliseconds. */
const slackMs = 2_000;

/** So many are claimed at once where that is more than an eighth of the slots, and no more than half of them. */
const leastAtOnce = 8;

/**
 * How many of a worker's slots a claim fills: an eighth of them; eight where that is more; half of fewer than 16. What
 * begins at one moment comes to its models, and to its end, at one moment too, and goes on doing so: slots then wait for
 * one another's work, and whoever comes newly waits for all of them.
 */
function mostAtOnce(slots: number): number {
  return Math.max(slots >> 3, Math.min(leastAtOnce, Math.ceil(slots / 2)));
}

/** Looks for runs whenever a slot is free, and tells who wants to know when there are none. */
export class Claims {
  readonly #claiming: Claiming;
  readonly #memory = new ClaimMemory();
  #nextSurvey = 0;
  #idleWaiters: (() => void)[] = [];

  constructor(claiming: Claiming) {
    this.#claiming = claiming;
  }

  /** How many runs a claim takes now, at most. */
  get #room(): number {
    const { free, size } = this.#claiming.slots;
    return Math.min(free, mostAtOnce(size));
  }

  /** Claims until the signal fires; a database that is away is waited for. */
  async keepClaiming(signal: AbortSignal): Promise<void> {
    const { slots, bell, pollMs, context } = this.#claiming;
    for (let failures = 0; !signal.aborted; ) {
      try {
        const foundAll = await this.#look(signal);
        failures = 0;
        if (foundAll || slots.free === 0) await bell.wait(pollMs);
      } catch (error) {
        context.log.warn({ kind: kindOf(error), failures }, "claim-failed");
        await pause(Math.min(5_000, 100 * 2 ** failures++), signal);
      }
    }
    this.#tellIdle(this.#idleWaiters.length);
  }

  /**
   * Looks again and again where each lane begins, so that a claim need not read what lies before. What comes to lie
   * there all the same (a run that was given back, or that a long transaction made) is found by the next survey: within
   * two seconds, or fifty times what a survey takes.
   */
  async keepSurveying(signal: AbortSignal): Promise<void> {
    const { log } = this.#claiming.context;
    await keepDoing({ what: "lanes-surveyed", everyMs: survey.everyMs, log, signal }, () => this.#survey());
  }

  async #survey(): Promise<void> {
    const began = performance.now();
    if (!this.#memory.isWorthSurveying || began < this.#nextSurvey) return;
    this.#memory.learn(await surveyLanes(this.#claiming.context.pool, slackMs));
    const ended = performance.now();
    this.#nextSurvey = ended + survey.share * (ended - began);
  }

  /** Resolves when a look, begun after this call, finds nothing due while nothing runs; or when claiming ends. */
  async untilIdle(): Promise<void> {
    const idle = new Promise<void>((resolve) => this.#idleWaiters.push(resolve));
    this.#claiming.bell.ring();
    await idle;
  }

  /**
   * Claims what there is; where nothing is due and nothing runs, tells those who asked before.
   *
   * @returns whether that was all: it found less than there was room for.
   */
  async #look(signal: AbortSignal): Promise<boolean> {
    const asked = this.#idleWaiters.length;
    // An attempt that ends meanwhile may leave work that this look is too early to see; its end makes another look.
    const { empty } = this.#claiming.slots;
    const room = this.#room;
    const claimed = (await this.#claim(signal)) || (asked > 0 ? await this.#claimAll(signal) : 0);
    if (claimed === 0 && empty) this.#tellIdle(asked);
    return claimed < room;
  }

  #tellIdle(asked: number): void {
    for (const tell of this.#idleWaiters.splice(0, asked)) tell();
  }

  /** Who asks whether nothing is due wants to know of everything. */
  async #claimAll(signal: AbortSignal): Promise<number> {
    if (!this.#memory.isWorthSurveying) return 0;
    this.#memory.forget();
    return await this.#claim(signal);
  }

  async #claim(signal: AbortSignal): Promise<number> {
    const { context, as, slots, bell, onClaimed } = this.#claiming;
    const limit = this.#room;
    if (limit === 0) return 0;
    const bulk = Math.max(0, slots.free - keptFree(slots.size));
    const askedAt = performance.now();
    const runs = await claimRuns(context.pool, { ...as, limit, bulk, memory: this.#memory });
    if (signal.aborted) return await this.#giveBack(runs);
    for (const run of runs) {
      onClaimed(run, askedAt);
      if (run.paced_ms !== null) bell.ringIn(run.paced_ms + clocksMs);
    }
    return runs.length;
  }

  /** What was claimed while the worker was told to stop. */
  async #giveBack(runs: readonly ClaimedRun[]): Promise<number> {
    if (runs.length === 0) return 0;
    const { pool } = this.#claiming.context;
    await releaseRuns(pool, runs);
    await wakeWorkers(pool);
    return 0;
  }
}

import type { ClaimedRun } from "../ledger/run.ts";
import { within } from "../pause.ts";
import { Stop } from "./ending.ts";

type Slot = { readonly run: ClaimedRun; readonly stop: AbortController; readonly done: Promise<void> };

/** How long attempts that were told to stop may take to end, in milliseconds. */
const lastMs = 3_000;

/** The attempts that go on in one worker, at most `size` of them. */
export class Slots {
  readonly size: number;
  readonly #onFreed: () => void;
  /** By lease token: a worker may claim a run again whose lost attempt has not ended yet. */
  readonly #slots = new Map<string, Slot>();

  constructor(size: number, onFreed: () => void) {
    this.size = size;
    this.#onFreed = onFreed;
  }

  get free(): number {
    return this.size - this.#slots.size;
  }

  get empty(): boolean {
    return this.#slots.size === 0;
  }

  /** The leases of what goes on. */
  leases(): readonly ClaimedRun[] {
    return [...this.#slots.values()].map(({ run }) => run);
  }

  /** Begins an attempt, which must not fail; its slot is free again when it ends. */
  fill(run: ClaimedRun, attempt: (stop: AbortController) => Promise<void>): void {
    const stop = new AbortController();
    const done = attempt(stop).finally(() => {
      this.#slots.delete(run.lease_token);
      this.#onFreed();
    });
    this.#slots.set(run.lease_token, { run, stop, done });
  }

  /** Tells the attempts of which `which` is true to stop. */
  stop(why: Stop["why"], which: (run: ClaimedRun) => boolean): void {
    for (const { run, stop } of this.#slots.values()) {
      if (which(run)) stop.abort(new Stop(why));
    }
  }

  /** Lets attempts end for `ms`, then tells the rest to. Some may go on even then: a graph may heed no signal. */
  async drain(ms: number): Promise<void> {
    await within(ms, this.#untilEmpty());
    this.stop("drained", () => true);
    await within(lastMs, this.#untilEmpty());
  }

  async #untilEmpty(): Promise<void> {
    await Promise.all([...this.#slots.values()].map(({ done }) => done));
  }
}

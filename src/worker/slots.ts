import { LoregraphError } from "../errors.ts";
import type { ClaimedRun, Lease } from "../ledger/run.ts";
import { within } from "../pause.ts";
import { Stop } from "./ending.ts";
import { Held } from "./held.ts";

type Slot = {
  readonly run: ClaimedRun;
  readonly stop: AbortController;
  readonly held: Held;
  readonly done: Promise<void>;
};

/** How long attempts that were told to stop may take to end, in milliseconds. */
const lastMs = 3_000;

/**
 * The attempts that go on in one worker: at most `size` of them at work, and as many at most that have worked and whose
 * endings are being committed.
 */
export class Slots {
  readonly size: number;
  readonly #onFreed: () => void;
  readonly #leaseMs: number;
  /** By lease token: a worker may claim a run again whose lost attempt has not ended yet. */
  readonly #slots = new Map<string, Slot>();
  /** The tokens of those that have worked. */
  readonly #ending = new Set<string>();

  /** `leaseMs` is how long an unrenewed lease holds; defaults to 10 s. */
  constructor(size: number, onFreed: () => void, leaseMs = 10_000) {
    this.size = size;
    this.#onFreed = onFreed;
    this.#leaseMs = leaseMs;
  }

  get free(): number {
    const working = this.#slots.size - this.#ending.size;
    return this.size - Math.max(working, this.#slots.size - this.size);
  }

  get empty(): boolean {
    return this.#slots.size === 0;
  }

  /** The leases of what goes on. */
  leases(): readonly ClaimedRun[] {
    return [...this.#slots.values()].map(({ run }) => run);
  }

  /**
   * Begins an attempt, which must not fail; its slot is free again when it ends, or has worked. Its lease was asked for
   * after `askedAt` of `performance.now()`, which defaults to now.
   */
  fill(
    run: ClaimedRun,
    attempt: (stop: AbortController) => Promise<void>,
    askedAt: number = performance.now(),
  ): void {
    const stop = new AbortController();
    const held = new Held(askedAt + this.#leaseMs);
    const done = attempt(stop).finally(() => this.#end(run));
    this.#slots.set(run.lease_token, { run, stop, held, done });
  }

  /** Its work is done: another attempt may begin while how it ended is on its way to the disk. */
  worked({ lease_token }: Pick<Lease, "lease_token">): void {
    if (!this.#slots.has(lease_token)) return;
    this.#ending.add(lease_token);
    this.#onFreed();
  }

  /** Where it had worked, its place was free already, unless too many endings were under way. */
  #end({ lease_token }: ClaimedRun): void {
    const { free } = this;
    this.#slots.delete(lease_token);
    this.#ending.delete(lease_token);
    if (this.empty || this.free > free) this.#onFreed();
  }

  /** Notes that leases were renewed, by a statement that was sent at `sentAt` of `performance.now()`. */
  renew(tokens: ReadonlySet<string>, sentAt: number): void {
    for (const [token, { held }] of this.#slots) {
      if (tokens.has(token)) held.renew(sentAt + this.#leaseMs);
    }
  }

  /**
   * Resolves at once while a lease surely holds. Where it may have run out unheard, as behind a network that is cut or
   * in a process that stood still, it waits until it is renewed. Throws what stopped the attempt, and
   * DATABASE_UNAVAILABLE where nothing is heard for as long as a lease holds.
   */
  async sure({ lease_token }: Pick<Lease, "lease_token">): Promise<void> {
    const slot = this.#slots.get(lease_token);
    if (slot === undefined) throw new Stop("lease lost");
    const { held, stop } = slot;
    stop.signal.throwIfAborted();
    if (!held.isSure) await untilSure(held, stop.signal, this.#leaseMs);
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

/** One renewal may be too old to tell anything: the next one is waited for as well. */
async function untilSure(held: Held, signal: AbortSignal, ms: number): Promise<void> {
  const [over, stopped] = [new AbortController(), Promise.withResolvers<void>()];
  signal.addEventListener("abort", () => stopped.resolve(), { once: true, signal: over.signal });
  const deadline = performance.now() + ms;
  try {
    for (let left = ms; !held.isSure; left = deadline - performance.now()) {
      if (left <= 0) throw inDoubt();
      await within(left, Promise.race([held.renewed, stopped.promise]));
      signal.throwIfAborted();
    }
  } finally {
    over.abort();
  }
}

function inDoubt(): LoregraphError {
  return new LoregraphError(
    "DATABASE_UNAVAILABLE",
    "nobody can say whether the attempt still holds its lease",
  );
}

import { randomUUID } from "node:crypto";
import { type Db, orUnavailable } from "../../db.ts";
import { LoregraphError } from "../../errors.ts";
import { type Asked, noteRefusal, type Turns, takeTurns } from "./turns.ts";

/** What became of a call. */
export type CallEnd =
  /** The server let it through, whatever it said. `tokensMore`: how many more it needed than was thought. */
  | { readonly kind: "answered"; readonly tokensMore: number }
  /** The server said to come back later. */
  | { readonly kind: "refused"; readonly waitMs: number; readonly slows: boolean }
  /** The server failed, or could not be reached; because too much is asked of it? */
  | { readonly kind: "failed"; readonly overloaded: boolean }
  /** It was given up, and says nothing about the server. */
  | { readonly kind: "dropped" };

/** The turn of a call: it may begin now. Where its end concerns the others, it has ended once they can know of it. */
export type Turn = { end(how: CallEnd): Promise<void> };

export type Wanted = {
  /** The tokens that it is thought to need. */
  readonly tokens: number;
  readonly signal: AbortSignal | undefined;
  /** The longest wait, in milliseconds. */
  readonly patienceMs: number;
};

/** What all calls of a model may do together. What is absent is not limited, but by what is learnt. */
export type Pace = {
  readonly requests: number | undefined;
  readonly tokens: number | undefined;
  readonly concurrency: number | undefined;
};

export type QueueOptions = Asked & {
  readonly db: Db;
  /** The pace a second, as it is configured or was told by the provider. */
  readonly pace: () => Pace;
  /** How long a call may take, in milliseconds. */
  readonly callMs: number;
  /** Told when this process opens the breaker: for how long, in milliseconds. */
  readonly onOpened: (forMs: number) => void;
};

/** How far ahead turns are given: little enough that a refusal is heard of before most of them. */
const horizonMs = 1_000;
/** What a turn may be late and still be taken: later, it would fall into a minute that others have filled. */
const lateMs = 500;
/** Between two questions of one process about one model. */
const [leastMs, sharedMs, mostMs] = [25, 500, 1_000];
/** How long calls are held back that would wait in vain: else a worker would spend its backlog on being refused. */
const vainMs = { paused: 2_000, open: 250 };
/** How soon others hear of what became of calls, where nothing is asked anyway; and that long calls go on. */
const [tellMs, aliveMs] = [250, 2_000];

type Waiting = Wanted & {
  readonly begin: (turn: Turn) => void;
  readonly refuse: (error: unknown) => void;
  giveUp: NodeJS.Timeout | undefined;
  giveUpAt: number;
};
type Given = { readonly call: Waiting; readonly timer: NodeJS.Timeout };

const untold = { answered: 0, failed: 0, overloaded: 0, tokensMore: 0 };

/**
 * The calls of one model that wait in this process. The database gives them their turns, a few at a time, among those of
 * all processes; a statement asks for all that wait, and tells what became of earlier ones.
 */
export class TurnQueue {
  readonly #options: QueueOptions;
  readonly #process = randomUUID();
  readonly #waiting: Waiting[] = [];
  readonly #given = new Set<Given>();
  #open = 0;
  #told = untold;
  #asking = false;
  /** Was it time to ask while a question was under way? */
  #again = false;
  #telling: Promise<void> = Promise.resolve();
  #next: { readonly timer: NodeJS.Timeout; readonly at: number } | undefined;
  /** Why the last question left calls waiting. */
  #why: Turns["why"] = null;
  #pausedUntil = 0;

  constructor(options: QueueOptions) {
    this.#options = options;
  }

  /**
   * Resolves when a call may begin. Throws RATE_LIMITED where its turn does not come in time, MODEL_UNREACHABLE where the
   * breaker is open, DATABASE_UNAVAILABLE where nobody can say; and the signal's reason.
   */
  async take(wanted: Wanted): Promise<Turn> {
    const { signal, patienceMs } = wanted;
    signal?.throwIfAborted();
    const { promise, resolve: begin, reject: refuse } = Promise.withResolvers<Turn>();
    const call: Waiting = { ...wanted, begin, refuse, giveUp: undefined, giveUpAt: Number.POSITIVE_INFINITY };
    const abort = () => this.#drop(call, signal?.reason);
    signal?.addEventListener("abort", abort, { once: true });
    this.#setPatience(call, patienceMs);
    this.#waiting.push(call);
    this.#askFor(call);
    try {
      return await promise;
    } finally {
      signal?.removeEventListener("abort", abort);
      clearTimeout(call.giveUp);
    }
  }

  /** Where the answer is known to be no, the next question is soon enough. */
  #askFor(call: Waiting): void {
    this.#heedPause(call);
    this.#askIn(this.#why === "rate" || this.#why === "wait" ? sharedMs : 0);
  }

  /** A wait can become shorter, never longer. */
  #setPatience(call: Waiting, ms: number, why: () => LoregraphError = () => this.#outOfTurn()): void {
    const at = performance.now() + ms;
    if (at >= call.giveUpAt) return;
    clearTimeout(call.giveUp);
    call.giveUp = setTimeout(() => this.#drop(call, why()), ms);
    call.giveUpAt = at;
  }

  /** Whoever cannot wait until the pause is over need not wait for long. */
  #heedPause(call: Waiting): void {
    if (this.#pausedUntil > call.giveUpAt) this.#setPatience(call, vainMs.paused);
  }

  #drop(call: Waiting, error: unknown): void {
    const at = this.#waiting.indexOf(call);
    if (at >= 0) this.#waiting.splice(at, 1);
    for (const given of this.#given) {
      if (given.call !== call) continue;
      clearTimeout(given.timer);
      this.#given.delete(given);
    }
    call.refuse(error);
  }

  #outOfTurn(): LoregraphError {
    const paused = Math.max(0, this.#pausedUntil - performance.now());
    const { model } = this.#options;
    const why = paused > 0 ? "its provider said to come back later" : "others are asked before";
    return new LoregraphError("RATE_LIMITED", `no turn for a call of ${model}: ${why}`, {
      // Not all at once: each comes back somewhere in the five seconds after it.
      after: new Date(Date.now() + Math.max(paused, 1_000) + Math.random() * 5_000),
    });
  }

  #askIn(ms: number): void {
    const at = performance.now() + ms;
    if (this.#next && this.#next.at <= at) {
      if (this.#waiting.length > 0) this.#next.timer.ref();
      return;
    }
    clearTimeout(this.#next?.timer);
    const timer = setTimeout(() => {
      this.#next = undefined;
      void this.#ask();
    }, ms);
    // What is told, but not asked, keeps no process alive.
    if (this.#waiting.length === 0) timer.unref();
    this.#next = { timer, at };
  }

  async #ask(): Promise<void> {
    if (this.#asking) {
      this.#again = true;
      return;
    }
    this.#asking = true;
    // Else it might be asked whose turn it is before the refusal is known.
    await this.#telling;
    const calls = [...this.#waiting];
    const told = this.#told;
    this.#told = untold;
    try {
      const { db, provider, model, pace, callMs } = this.#options;
      const turns = await orUnavailable(() =>
        takeTurns(db, {
          ...{ provider, model, process: this.#process, horizonMs, probeMs: callMs },
          ...{
            wanted: calls.map(({ tokens }) => Math.round(tokens)),
            inFlight: this.#open + this.#given.size,
          },
          ...told,
          ...pace(),
        }),
      );
      this.#heed(turns, calls);
    } catch (error) {
      this.#told = sum(this.#told, told);
      for (const call of calls) this.#drop(call, error);
    }
    this.#asking = false;
    if (this.#again) this.#askIn(0);
    else if (this.#open + this.#given.size > 0) this.#askIn(aliveMs);
    this.#again = false;
  }

  #heed({ turns_ms, why, free_in_ms, paused_ms, opened }: Turns, calls: readonly Waiting[]): void {
    this.#why = why;
    if (opened) this.#options.onOpened(free_in_ms);
    if (paused_ms > 0) this.#pauseFor(paused_ms);
    const waiting = calls.filter((call) => this.#waiting.includes(call));
    for (const [nth, ms] of turns_ms.entries()) {
      const call = waiting[nth];
      if (call !== undefined) this.#give(call, ms);
    }
    const left = waiting.slice(turns_ms.length);
    if (why === "open") for (const call of left) this.#setUnreachable(call, free_in_ms);
    else if (left.length > 0) this.#askIn(untilNext(why, free_in_ms));
  }

  /** Turns that would fall into the pause are void: their calls wait again, before all others. */
  #pauseFor(ms: number): void {
    this.#pausedUntil = performance.now() + ms;
    const back = [...this.#given].map(({ call, timer }) => {
      clearTimeout(timer);
      return call;
    });
    this.#given.clear();
    this.#waiting.unshift(...back);
    for (const call of this.#waiting) this.#heedPause(call);
  }

  #give(call: Waiting, ms: number): void {
    this.#waiting.splice(this.#waiting.indexOf(call), 1);
    const due = performance.now() + ms;
    const given: Given = { call, timer: setTimeout(() => this.#begin(given, due), ms) };
    this.#given.add(given);
  }

  #begin(given: Given, due: number): void {
    const { call } = given;
    this.#given.delete(given);
    if (performance.now() > due + lateMs) {
      this.#waiting.unshift(call);
      this.#askIn(0);
      return;
    }
    this.#open++;
    const began = performance.now();
    call.begin({ end: (how) => this.#end(how, performance.now() - began) });
  }

  #setUnreachable(call: Waiting, ms: number): void {
    const after = new Date(Date.now() + ms + Math.random() * 2_000);
    const message = `${this.#options.model} is not asked: its calls failed one after the other; one is tried later`;
    this.#setPatience(call, vainMs.open, () => new LoregraphError("MODEL_UNREACHABLE", message, { after }));
  }

  async #end(how: CallEnd, ageMs: number): Promise<void> {
    this.#open--;
    switch (how.kind) {
      case "refused":
        this.#pauseFor(how.waitMs);
        this.#telling = this.#tellRefusal(how, ageMs);
        await this.#telling;
        break;
      case "failed":
        this.#told = sum(this.#told, { ...untold, failed: 1, overloaded: Number(how.overloaded) });
        this.#askIn(0);
        break;
      case "answered":
        this.#told = sum(this.#told, { ...untold, answered: 1, tokensMore: how.tokensMore });
        this.#askIn(this.#why === "concurrency" ? 0 : tellMs);
        break;
      case "dropped":
        this.#askIn(tellMs);
    }
  }

  /** Where the database is away, the next question says so. */
  async #tellRefusal({ waitMs, slows }: CallEnd & { kind: "refused" }, ageMs: number): Promise<void> {
    const { db, provider, model, pace } = this.#options;
    const { requests } = pace();
    await noteRefusal(db, { provider, model, ageMs, waitMs, slows, requests }).catch(() => {});
  }
}

/** Processes that ask again at the same moment would always be answered in the same order. */
function untilNext(why: Turns["why"], freeInMs: number): number {
  const least = why === "concurrency" ? leastMs : sharedMs;
  return Math.min(mostMs, Math.max(least, freeInMs)) * (0.75 + Math.random() / 2);
}

function sum(a: typeof untold, b: typeof untold): typeof untold {
  return {
    answered: a.answered + b.answered,
    failed: a.failed + b.failed,
    overloaded: a.overloaded + b.overloaded,
    tokensMore: a.tokensMore + b.tokensMore,
  };
}

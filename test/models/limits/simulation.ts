import { randomUUID } from "node:crypto";
import type { Pool } from "../../../src/db.ts";
import { noteRefusal, type Turns, takeTurns } from "../../../src/models/limits/turns.ts";
import type { Limiter } from "./servers.ts";

export type Simulated = {
  /** When calls were let through and refused, in seconds from the beginning. */
  readonly answered: readonly number[];
  readonly refused: readonly number[];
  /** How often the database was asked. */
  readonly statements: number;
};

export type Simulation = {
  readonly server: Limiter;
  readonly minutes: number;
  /** The configured limit, in requests a minute. */
  readonly limit?: number | undefined;
  readonly processes?: number;
  /** Calls that each process has under way or waiting, always. */
  readonly slots?: number;
};

const latency = 0.3;

/**
 * Processes that always have more to ask than they may, on a clock of their own, so that minutes take seconds and nothing
 * depends on how quick the machine is. What decides is the real database; the server and the time are simulated.
 */
export async function simulate(
  pool: Pool,
  { server, minutes, limit, processes = 10, slots = 8 }: Simulation,
): Promise<Simulated> {
  const time = new Time();
  const seen = { answered: [] as number[], refused: [] as number[], statements: 0 };
  const requests = limit && (limit / 60) * 0.985;
  const shared = { pool, server, time, seen, model: randomUUID(), requests };
  for (let nth = 0; nth < processes; nth++) new Process(shared, slots).start(nth / 100);
  await time.runUntil(minutes * 60);
  return seen;
}

/** What happens when, in its order. */
class Time {
  readonly #events: { readonly at: number; readonly happen: () => unknown }[] = [];
  readonly #begin = Date.now();
  now = 0;

  in(seconds: number, happen: () => unknown): void {
    const at = this.now + seconds;
    const later = this.#events.findLastIndex((event) => event.at <= at);
    this.#events.splice(later + 1, 0, { at, happen });
  }

  async runUntil(end: number): Promise<void> {
    for (let next = this.#events.shift(); next && next.at < end; next = this.#events.shift()) {
      this.now = next.at;
      await next.happen();
    }
  }

  get date(): Date {
    return new Date(this.#begin + this.now * 1_000);
  }
}

type Shared = {
  readonly pool: Pool;
  readonly server: Limiter;
  readonly time: Time;
  readonly seen: { readonly answered: number[]; readonly refused: number[]; statements: number };
  readonly model: string;
  readonly requests: number | undefined;
};

/** Asks as a process does, twice a second at most; turns that fall into a pause are void. */
class Process {
  readonly #shared: Shared;
  readonly #id = randomUUID();
  #waiting: number;
  #given = 0;
  #open = 0;
  #answered = 0;
  #pauses = 0;
  #isAsking = false;

  constructor(shared: Shared, slots: number) {
    this.#shared = shared;
    this.#waiting = slots;
  }

  start(seconds: number): void {
    if (this.#isAsking) return;
    this.#isAsking = true;
    this.#shared.time.in(seconds, () => this.#ask());
  }

  async #ask(): Promise<void> {
    this.#isAsking = false;
    const turns = await this.#take();
    if (turns.paused_ms > 0) this.#pause();
    for (const ms of turns.turns_ms) this.#give(ms / 1_000);
    if (this.#waiting > 0) this.start(Math.min(1, Math.max(0.5, turns.free_in_ms / 1_000)));
  }

  async #take(): Promise<Turns> {
    const { pool, model, requests, time, seen } = this.#shared;
    const answered = this.#answered;
    this.#answered = 0;
    seen.statements++;
    return await takeTurns(pool, {
      ...{ provider: "simulated", model, process: this.#id, requests, answered, now: time.date },
      ...{ wanted: Array.from({ length: this.#waiting }, () => 0), inFlight: this.#open + this.#given },
      ...{ failed: 0, overloaded: 0, tokensMore: 0, tokens: undefined, concurrency: undefined },
      ...{ horizonMs: 1_000, probeMs: 10_000 },
    });
  }

  #pause(): void {
    this.#pauses++;
    this.#waiting += this.#given;
    this.#given = 0;
  }

  #give(seconds: number): void {
    this.#waiting--;
    this.#given++;
    const pauses = this.#pauses;
    this.#shared.time.in(seconds, () => (pauses === this.#pauses ? this.#call() : undefined));
  }

  #call(): void {
    const { server, time, seen } = this.#shared;
    this.#given--;
    this.#open++;
    const wait = server(time.now);
    (wait === undefined ? seen.answered : seen.refused).push(time.now);
    if (wait === undefined) time.in(latency, () => this.#end());
    else time.in(0.01, () => this.#hear(wait));
  }

  #end(): void {
    this.#open--;
    this.#answered++;
    this.#waiting++;
    this.start(0.05);
  }

  async #hear(wait: number): Promise<void> {
    const { pool, model, requests, time } = this.#shared;
    this.#open--;
    this.#waiting++;
    this.#pause();
    const about = { provider: "simulated", model, requests, now: time.date };
    await noteRefusal(pool, { ...about, ageMs: 10, waitMs: wait * 1_000, slows: true });
    this.start(0.05);
  }
}

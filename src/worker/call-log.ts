import type { Pool } from "../db.ts";
import { type CallFigures, type NotedCall, noteCallsNow } from "../ledger/calls.ts";
import type { ModelCall } from "../models/calls.ts";

/** How many calls of one attempt are rows of their own; what comes after is added up, by node and model. */
const mostSingle = 1_000;

/** What one attempt asked of models and has not yet noted in the ledger. What was said is not kept. */
export class CallLog {
  readonly #run: NotedCall["run"];
  #ordinal = 0;
  #due: NotedCall[] = [];
  /** Those that are being noted, to which nothing is added any more: the ledger takes a number once. */
  readonly #handed = new WeakSet<NotedCall>();

  constructor(run: NotedCall["run"]) {
    this.#run = run;
  }

  add({ request: _, response: __, ...call }: ModelCall): void {
    const one: CallFigures = { ...call, calls: 1 };
    const like =
      this.#ordinal < mostSingle
        ? -1
        : this.#due.findIndex((other) => !this.#handed.has(other) && isAlike(other, one));
    const other = this.#due[like];
    if (other === undefined) this.#due.push({ ...one, run: this.#run, ordinal: ++this.#ordinal });
    else this.#due[like] = { ...other, ...sum(other, one) };
  }

  /** What is to be noted. */
  due(): readonly NotedCall[] {
    for (const call of this.#due) this.#handed.add(call);
    return [...this.#due];
  }

  /** They were noted, and are forgotten. */
  forget(noted: readonly NotedCall[]): void {
    this.#due = this.#due.filter((call) => !noted.includes(call));
  }

  /** Notes by itself what is to be noted, while more may be asked. */
  async noteNow(pool: Pool): Promise<void> {
    const due = this.due();
    await noteCallsNow(pool, due);
    this.forget(due);
  }
}

/** Those after the first thousand, which have no question of their own any more. */
function isAlike(other: NotedCall, { node, kind, model, from }: CallFigures): boolean {
  const summed = other.ordinal > mostSingle;
  return summed && other.node === node && other.kind === kind && other.model === model && other.from === from;
}

function sum(one: CallFigures, other: CallFigures): Partial<CallFigures> {
  return {
    calls: one.calls + other.calls,
    tokens_in: one.tokens_in + other.tokens_in,
    tokens_cached: one.tokens_cached + other.tokens_cached,
    tokens_out: one.tokens_out + other.tokens_out,
    cost_usd: one.cost_usd + other.cost_usd,
    saved_usd: one.saved_usd + other.saved_usd,
    ms: one.ms + other.ms,
    key: undefined,
  };
}

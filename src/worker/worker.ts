import { randomBytes } from "node:crypto";
import { hostname } from "node:os";
import { deleteOldCheckpoints } from "../../checkpoints/retention.ts";
import { reapExpired, releaseRuns, renewLeases } from "../ledger/attempt.ts";
import { claimRuns } from "../ledger/claim.ts";
import { wakeWorkers } from "../ledger/enqueue.ts";
import { countOpenRuns } from "../ledger/read.ts";
import type { ClaimedRun } from "../ledger/run.ts";
import { forgetWorker, noteWorker } from "../ledger/workers.ts";
import { withRunIds } from "../telemetry/log.ts";
import { runAttempt } from "./attempt.ts";
import { Bell } from "./bell.ts";
import type { Context } from "./context.ts";
import { type Ending, Stop } from "./ending.ts";
import { Listener } from "./listener.ts";
import { pause, within } from "./pause.ts";

export type WorkerOptions = {
  /** Where the worker listens for notifications. */
  readonly url: string;
  /** The pipelines that it runs. Defaults to all of the registry. */
  readonly pipelines?: readonly string[] | undefined;
  /** How many runs at a time. Defaults to 8. */
  readonly concurrency?: number | undefined;
  /** How long an unrenewed lease holds, in milliseconds. Defaults to 10 s. */
  readonly leaseMs?: number | undefined;
  /** How long attempts may go on once it is told to stop, in milliseconds. Defaults to 10 s. */
  readonly drainMs?: number | undefined;
  /** The longest wait between two looks at an empty queue, in milliseconds. Defaults to 2 s. */
  readonly pollMs?: number | undefined;
  /** Told of each attempt's end. */
  readonly onEnded?: ((run: ClaimedRun, ending: Ending) => void) | undefined;
};

/** How often old checkpoints are looked for, in milliseconds: it reads all of them. */
const tidyMs = 600_000;

type Slot = { readonly run: ClaimedRun; readonly stop: AbortController; readonly done: Promise<void> };

/**
 * Takes runs from the ledger and runs their graphs, `concurrency` at a time. A slot is filled again as soon as it is
 * free. It survives a lost database: it waits and goes on.
 */
export class Worker {
  readonly name = `${hostname()}-${process.pid}-${randomBytes(3).toString("hex")}`;
  readonly #context: Context;
  readonly #url: string;
  readonly #pipelines: readonly string[];
  readonly #concurrency: number;
  readonly #leaseMs: number;
  readonly #drainMs: number;
  readonly #pollMs: number;
  readonly #onEnded: (run: ClaimedRun, ending: Ending) => void;
  /** By lease token: a worker may claim a run again whose lost attempt has not ended yet. */
  readonly #slots = new Map<string, Slot>();
  readonly #bell = new Bell();
  #idleWaiters: (() => void)[] = [];
  readonly #stopping = new AbortController();
  readonly #stopped = new AbortController();
  #stop: Promise<void> | undefined;
  readonly #listener: Listener;
  #loops: Promise<unknown> = Promise.resolve();

  constructor(context: Context, options: WorkerOptions) {
    this.#context = context;
    this.#url = options.url;
    this.#pipelines = options.pipelines ?? [...context.registry.keys()];
    this.#concurrency = options.concurrency ?? 8;
    this.#leaseMs = options.leaseMs ?? 10_000;
    this.#drainMs = options.drainMs ?? 10_000;
    this.#pollMs = options.pollMs ?? 2_000;
    this.#onEnded = options.onEnded ?? (() => {});
    this.#listener = new Listener(this.#url, context.schema, {
      onRuns: () => this.#bell.ring(),
      onCancel: (run) => this.#cancel(run),
      onLost: () => context.log.warn("notifications-lost"),
    });
  }

  start(): void {
    this.#listener.start();
    this.#loops = Promise.all([this.#fillSlots(), this.#keepAlive(), this.#keepReaping(), this.#keepTidy()]);
    this.#context.log.info({ worker: this.name, concurrency: this.#concurrency }, "worker-started");
  }

  /**
   * Stops claiming, lets attempts end for `drainMs`, then gives the rest back, which costs them no attempt.
   * Bounded: it returns within `drainMs` and five seconds, whatever the graphs or the database do.
   */
  async stop(): Promise<void> {
    this.#stop ??= this.#stopOnce();
    await this.#stop;
  }

  async #stopOnce(): Promise<void> {
    this.#stopping.abort();
    this.#bell.ring();
    await within(this.#drainMs + 5_000, this.#drain());
    this.#stopped.abort();
    this.#context.log.info({ worker: this.name }, "worker-stopped");
  }

  /** Resolves when a look at the ledger, begun after this call, finds nothing due while nothing runs; or on a stop. */
  async untilIdle(): Promise<void> {
    if (this.#stopping.signal.aborted) return;
    const idle = new Promise<void>((resolve) => this.#idleWaiters.push(resolve));
    this.#bell.ring();
    await idle;
  }

  /** Resolves when nothing is left to do for its pipelines: no retry that waits, nothing that runs on any machine. */
  async untilDone(): Promise<void> {
    while (!this.#stopping.signal.aborted) {
      await this.untilIdle();
      if (await this.#nothingIsOpen()) return;
      await pause(Math.min(200, this.#leaseMs / 4), this.#stopping.signal);
    }
  }

  async #nothingIsOpen(): Promise<boolean> {
    let open = true;
    await this.#safely("open-runs-counted", async () => {
      const { pending, running } = await countOpenRuns(this.#context.pool, { pipelines: this.#pipelines });
      open = pending + running > 0;
    });
    return !open;
  }

  async #drain(): Promise<void> {
    await within(this.#drainMs, this.#untilEmpty());
    for (const { stop } of this.#slots.values()) stop.abort(new Stop("drained"));
    await within(3_000, this.#untilEmpty());
    await this.#releaseLeftovers();
    this.#stopped.abort();
    await Promise.all([this.#loops, this.#listener.stop()]);
    await this.#safely("worker-forgotten", () => forgetWorker(this.#context.pool, this.name));
  }

  async #untilEmpty(): Promise<void> {
    await Promise.all([...this.#slots.values()].map(({ done }) => done));
  }

  async #releaseLeftovers(): Promise<void> {
    if (this.#slots.size === 0) return;
    await this.#safely("leftovers-released", async () => {
      await releaseRuns(this.#context.pool, this.#leases());
      await wakeWorkers(this.#context.pool);
    });
  }

  async #fillSlots(): Promise<void> {
    for (let failures = 0; !this.#stopping.signal.aborted; ) {
      try {
        const claimed = await this.#look();
        failures = 0;
        if (claimed === 0 || this.#slots.size >= this.#concurrency) await this.#bell.wait(this.#pollMs);
      } catch (error) {
        this.#context.log.warn({ kind: kindOf(error), failures }, "claim-failed");
        await pause(Math.min(5_000, 100 * 2 ** failures++), this.#stopping.signal);
      }
    }
    for (const tell of this.#idleWaiters.splice(0)) tell();
  }

  /** Claims what there is; where nothing is due and nothing runs, tells those who asked before. */
  async #look(): Promise<number> {
    const asked = this.#idleWaiters.length;
    const claimed = await this.#claim();
    if (claimed === 0 && this.#slots.size === 0)
      for (const tell of this.#idleWaiters.splice(0, asked)) tell();
    return claimed;
  }

  async #claim(): Promise<number> {
    const limit = this.#concurrency - this.#slots.size;
    if (limit === 0) return 0;
    const { pool } = this.#context;
    const runs = await claimRuns(pool, {
      worker: this.name,
      pipelines: this.#pipelines,
      limit,
      leaseMs: this.#leaseMs,
    });
    if (this.#stopping.signal.aborted) return await this.#giveBack(runs);
    for (const run of runs) this.#fill(run);
    return runs.length;
  }

  /** What was claimed while the worker was told to stop. */
  async #giveBack(runs: readonly ClaimedRun[]): Promise<number> {
    if (runs.length === 0) return 0;
    await releaseRuns(this.#context.pool, runs);
    await wakeWorkers(this.#context.pool);
    return 0;
  }

  #fill(run: ClaimedRun): void {
    const stop = new AbortController();
    const ids = { tenant: run.tenant_id, run: run.id, attempt: run.attempt + 1, pipeline: run.pipeline };
    const done = withRunIds(ids, () => this.#attempt(run, stop)).finally(() => {
      this.#slots.delete(run.lease_token);
      this.#bell.ring();
    });
    this.#slots.set(run.lease_token, { run, stop, done });
  }

  async #attempt(run: ClaimedRun, stop: AbortController): Promise<void> {
    await this.#safely("attempt-abandoned", async () => {
      const { ending, retryInMs } = await runAttempt(this.#context, run, stop);
      if (retryInMs !== undefined) this.#bell.ringIn(retryInMs);
      this.#onEnded(run, ending);
    });
  }

  #cancel(run: string): void {
    for (const slot of this.#slots.values()) {
      if (slot.run.id === run) slot.stop.abort(new Stop("cancelled"));
    }
  }

  /** Renews the leases of what runs; an attempt whose lease is gone, or that shall be cancelled, is stopped. */
  async #keepAlive(): Promise<void> {
    while (!this.#stopped.signal.aborted) {
      await this.#safely("leases-renewed", () => this.#renew());
      await pause(this.#leaseMs / 4, this.#stopped.signal);
    }
  }

  async #renew(): Promise<void> {
    const leases = this.#leases();
    const renewed = await renewLeases(this.#context.pool, leases, this.#leaseMs);
    const held = new Map(renewed.map((lease) => [lease.lease_token, lease]));
    for (const { lease_token } of leases) {
      const lease = held.get(lease_token);
      if (!lease) this.#slots.get(lease_token)?.stop.abort(new Stop("lease lost"));
      else if (lease.cancel_requested) this.#slots.get(lease_token)?.stop.abort(new Stop("cancelled"));
    }
  }

  /** Takes back what dead workers held. */
  async #keepReaping(): Promise<void> {
    while (!this.#stopping.signal.aborted) {
      await this.#safely("expired-reaped", () => this.#reap());
      await pause(this.#leaseMs / 2, this.#stopping.signal);
    }
  }

  /** Deletes checkpoints that nobody needs any more. */
  async #keepTidy(): Promise<void> {
    while (!this.#stopping.signal.aborted) {
      await this.#safely("checkpoints-deleted", () => deleteOldCheckpoints(this.#context.pool));
      await pause(tidyMs, this.#stopping.signal);
    }
  }

  async #reap(): Promise<void> {
    const { pool, log } = this.#context;
    await noteWorker(pool, { worker: this.name, pipelines: this.#pipelines, concurrency: this.#concurrency });
    const reaped = await reapExpired(pool);
    if (reaped.length > 0) {
      log.warn({ runs: reaped.map(({ id }) => id) }, "leases-expired");
      await wakeWorkers(pool);
    }
  }

  #leases(): readonly ClaimedRun[] {
    return [...this.#slots.values()].map(({ run }) => run);
  }

  /** What fails here fails again or heals by itself: it is logged, and the loop goes on. */
  async #safely(what: string, work: () => Promise<unknown>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#context.log.error({ kind: kindOf(error) }, `${what}-failed`);
    }
  }
}

function kindOf(error: unknown): string {
  if (!(error instanceof Error)) return typeof error;
  return "code" in error ? `${error.name} ${String(error.code)}` : error.name;
}

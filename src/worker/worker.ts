import { randomBytes } from "node:crypto";
import { hostname } from "node:os";
import { Retention } from "../../checkpoints/retention.ts";
import { familyOf, isDelivery } from "../ledger/deliveries.ts";
import type { Work } from "../ledger/enqueue.ts";
import { expireQuestions } from "../ledger/expire.ts";
import { countOpenRuns } from "../ledger/read.ts";
import type { ClaimedRun } from "../ledger/run.ts";
import { triedName } from "../ledger/tried.ts";
import { pause, within } from "../pause.ts";
import { noUsage } from "../pipeline.ts";
import { namesInLedger, triedIn } from "../registry.ts";
import { withRunIds } from "../telemetry/log.ts";
import { type Attempt, runAttempt } from "./attempt.ts";
import { Bell } from "./bell.ts";
import { tidyCalls } from "./call-retention.ts";
import { Claims } from "./claims.ts";
import type { Context } from "./context.ts";
import { type Ending, endedAs } from "./ending.ts";
import { Heartbeat } from "./heartbeat.ts";
import { Listener } from "./listener.ts";
import { keepDoing, safely } from "./loop.ts";
import { Meter } from "./meter.ts";
import { Slots } from "./slots.ts";
import { type SharedContext, shared } from "./together.ts";

export type WorkerOptions = {
  /** Where the worker listens for notifications and renews its leases. */
  readonly url: string;
  /** The pipelines that it runs, each a name or a pattern of SQL's `like`. Defaults to all of the registry. */
  readonly pipelines?: readonly string[] | undefined;
  /** How it tries a run. Defaults to running its pipeline's graph. */
  readonly attempt?: Attempt | undefined;
  /** How many runs at a time; as many more may be having their endings committed. Defaults to 8. */
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

/** How often what was done is added up, in milliseconds. */
const countMs = 2_000;

/** How often questions that expired are looked for, in milliseconds. */
const expiryMs = 10_000;

/** How often it is looked for what is too old, in milliseconds. */
const tidyMs = 600_000;

/**
 * Takes runs from the ledger and runs their graphs, `concurrency` at a time. A slot is filled again as soon as its graph
 * has ended. It survives a lost database: it waits and goes on.
 */
export class Worker {
  readonly name = `${hostname()}-${process.pid}-${randomBytes(3).toString("hex")}`;
  readonly #context: SharedContext;
  readonly #pipelines: readonly string[];
  readonly #try: Attempt;
  readonly #leaseMs: number;
  readonly #drainMs: number;
  readonly #onEnded: (run: ClaimedRun, ending: Ending) => void;
  readonly #meter = new Meter();
  readonly #bell = new Bell();
  readonly #slots: Slots;
  readonly #claims: Claims;
  readonly #heartbeat: Heartbeat;
  readonly #listener: Listener;
  /** It claims nothing more. */
  readonly #stopping = new AbortController();
  /** It renews nothing more. */
  readonly #stopped = new AbortController();
  #stop: Promise<void> | undefined;
  #loops: Promise<unknown> = Promise.resolve();

  constructor(context: Context, options: WorkerOptions) {
    const { url, pipelines = namesInLedger(context.registry), concurrency = 8 } = options;
    const { leaseMs = 10_000, drainMs = 10_000, pollMs = 2_000 } = options;
    const { attempt = runAttempt, onEnded = () => {} } = options;
    this.#pipelines = pipelines;
    this.#try = attempt;
    this.#leaseMs = leaseMs;
    this.#drainMs = drainMs;
    this.#onEnded = onEnded;
    const [bell, worker] = [this.#bell, this.name];
    const slots = new Slots(concurrency, () => bell.ring(), leaseMs);
    this.#slots = slots;
    this.#context = shared({
      ...context,
      sure: (lease) => slots.sure(lease),
      worked: (lease) => slots.worked(lease),
    });
    this.#claims = new Claims({
      context,
      as: { worker, pipelines, leaseMs },
      slots,
      bell,
      pollMs,
      onClaimed: (run, askedAt) => this.#begin(run, askedAt),
    });
    const note = { worker, pipelines, concurrency };
    this.#heartbeat = new Heartbeat({ url, schema: context.schema, log: context.log, note, slots, leaseMs });
    const work: Work = pipelines.some(isDelivery) ? "deliveries" : "graphs";
    this.#listener = new Listener(url, context.schema, {
      onRuns: (what) => (what === "" || what === work ? bell.ring() : undefined),
      onCancel: (id) => slots.stop("cancelled", (run) => run.id === id),
      onLost: () => context.log.warn("notifications-lost"),
    });
  }

  start(): void {
    const [stopping, stopped] = [this.#stopping.signal, this.#stopped.signal];
    this.#listener.start();
    this.#loops = Promise.all([
      this.#claims.keepClaiming(stopping),
      this.#claims.keepSurveying(stopping),
      this.#heartbeat.keepReaping(stopping),
      this.#heartbeat.keepRenewing(stopped),
      this.#keepTidy(stopping),
      this.#keepExpiring(stopping),
      this.#keepCallsTidy(stopping),
      this.#keepCounting(stopping),
    ]);
    this.#context.log.info({ worker: this.name, concurrency: this.#slots.size }, "worker-started");
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

  async #drain(): Promise<void> {
    await this.#slots.drain(this.#drainMs);
    await this.#heartbeat.releaseLeases();
    this.#stopped.abort();
    await Promise.all([this.#loops, this.#listener.stop()]);
    await safely(this.#context.log, "attempts-counted", () => this.#meter.write(this.#context.pool));
    await this.#heartbeat.end();
  }

  /** Resolves when a look at the ledger, begun after this call, finds nothing due while nothing runs; or on a stop. */
  async untilIdle(): Promise<void> {
    if (!this.#stopping.signal.aborted) await this.#claims.untilIdle();
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
    const { pool, log } = this.#context;
    let open = true;
    await safely(log, "open-runs-counted", async () => {
      const { pending, running } = await countOpenRuns(pool, { pipelines: this.#pipelines });
      open = pending + running > 0;
    });
    return !open;
  }

  #begin(run: ClaimedRun, askedAt: number): void {
    const ids = { tenant: run.tenant_id, run: run.id, attempt: run.attempt + 1, pipeline: run.pipeline };
    this.#slots.fill(run, (stop) => withRunIds(ids, () => this.#attempt(run, stop)), askedAt);
  }

  async #attempt(run: ClaimedRun, stop: AbortController): Promise<void> {
    await safely(this.#context.log, "attempt-abandoned", async () => {
      const started = performance.now();
      const { ending, retryInMs, usage = noUsage } = await this.#try(this.#context, run, stop);
      const seconds = (performance.now() - started) / 1_000;
      const pipeline = familyOf(run.pipeline);
      this.#meter.add({ pipeline, ending: endedAs(run, ending), seconds, usage });
      if (retryInMs !== undefined) this.#bell.ringIn(retryInMs);
      this.#onEnded(run, ending);
    });
  }

  /** Adds what this process did to what all did, for whoever watches. */
  async #keepCounting(signal: AbortSignal): Promise<void> {
    const { pool, log } = this.#context;
    await keepDoing({ what: "attempts-counted", everyMs: countMs, log, signal }, () =>
      this.#meter.write(pool),
    );
  }

  /** Answers questions that nobody answered in time. */
  async #keepExpiring(signal: AbortSignal): Promise<void> {
    const { pool, log } = this.#context;
    await keepDoing({ what: "questions-expired", everyMs: expiryMs, log, signal }, () =>
      expireQuestions(pool),
    );
  }

  /** Deletes single calls of models that are old, and folds the sums of past days. */
  async #keepCallsTidy(signal: AbortSignal): Promise<void> {
    const { pool, log } = this.#context;
    await keepDoing({ what: "calls-tidied", everyMs: tidyMs, log, signal }, () => tidyCalls(pool, signal));
  }

  /** Deletes checkpoints that nobody needs any more. */
  async #keepTidy(signal: AbortSignal): Promise<void> {
    const { pool, log, registry } = this.#context;
    const running = [...registry.values()].map(({ name, checkpoints }) => ({ name, ...checkpoints }));
    const tried = triedIn(registry).map(({ checkpoints, ...of }) => ({
      name: triedName(of),
      ...checkpoints,
    }));
    const keeping = [...running, ...tried];
    const retention = new Retention(keeping);
    await keepDoing({ what: "checkpoints-deleted", everyMs: tidyMs, log, signal }, () =>
      retention.deleteOld(pool, { signal }),
    );
  }
}

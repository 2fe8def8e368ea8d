import type { WebhookSettings } from "./config.ts";
import { deliveries, everyDelivery } from "./ledger/deliveries.ts";
import type { ClaimedRun } from "./ledger/run.ts";
import { pause } from "./pause.ts";
import { LoadedRegistry, namesInLedger, versionsIn } from "./registry.ts";
import { hasReingestsThatGoOn } from "./reingest/lag.ts";
import { Producer } from "./reingest/producer.ts";
import { heedPromotions } from "./rollouts/promotions.ts";
import type { EntitySource } from "./sources/entity-source.ts";
import { forgetTransactionIds } from "./store/events.ts";
import { noticeVersions } from "./versions/notice.ts";
import { deliveryAttempt } from "./webhooks/deliver.ts";
import type { Context } from "./worker/context.ts";
import type { Ending } from "./worker/ending.ts";
import { keepDoing, safely } from "./worker/loop.ts";
import { Worker } from "./worker/worker.ts";

export type RuntimeOptions = {
  readonly url: string;
  /** The pipelines that it runs; `webhook` stands for deliveries to subscribers. Defaults to all, and deliveries. */
  readonly pipelines?: readonly string[] | undefined;
  /** How many graphs at a time. Defaults to 8. */
  readonly concurrency?: number | undefined;
  readonly leaseMs: number;
  readonly drainMs: number;
  readonly webhooks: WebhookSettings;
  /** Where entities come from for the reingests that name the main service. */
  readonly mainService?: EntitySource | undefined;
  /** Told of each attempt's end at a graph. */
  readonly onEnded?: ((run: ClaimedRun, ending: Ending) => void) | undefined;
};

/** A version that somebody promoted runs in all processes within this time, in milliseconds. */
const heedMs = 2_000;

/** Heeds what is promoted until the signal fires. */
export async function keepHeeding({ pool, registry, log }: Context, signal: AbortSignal): Promise<void> {
  await keepDoing({ what: "promotions-heeded", everyMs: heedMs, log, signal }, () =>
    heedPromotions(pool, registry),
  );
}

/** Deliveries at a time: subscribers are waited for, which costs next to nothing. */
const deliverySlots = 32;

/**
 * All that a process which works does: it runs graphs, delivers events in slots of their own, so that neither waits for
 * the other, and produces reingests.
 */
export class Runtime {
  readonly #context: Context;
  readonly #pipelines: readonly string[];
  readonly #graphs: Worker | undefined;
  readonly #deliveries: Worker | undefined;
  readonly #producer: Producer;
  readonly #stopping = new AbortController();

  constructor(context: Context, options: RuntimeOptions) {
    const { url, leaseMs, drainMs, pipelines = [...namesInLedger(context.registry), deliveries] } = options;
    const graphs = pipelines.filter((name) => name !== deliveries);
    const shared = { url, leaseMs, drainMs };
    this.#context = context;
    this.#pipelines = graphs;
    if (graphs.length > 0) {
      const { concurrency, onEnded } = options;
      this.#graphs = new Worker(context, { ...shared, pipelines: graphs, concurrency, onEnded });
    }
    if (pipelines.includes(deliveries)) {
      const attempt = deliveryAttempt(options.webhooks);
      const slots = { pipelines: [everyDelivery], concurrency: deliverySlots };
      this.#deliveries = new Worker(context, { ...shared, ...slots, attempt });
    }
    this.#producer = new Producer(context, { url, mainService: options.mainService });
  }

  async start(): Promise<void> {
    await forgetTransactionIds(this.#context.pool);
    const { registry, log } = this.#context;
    const running = versionsIn(registry).filter(({ name }) => this.#pipelines.includes(name));
    await safely(log, "promotions-heeded", () => heedPromotions(this.#context.pool, registry));
    if (registry instanceof LoadedRegistry && registry.hasOthers)
      void keepHeeding(this.#context, this.#stopping.signal);
    await safely(log, "versions-noticed", () => noticeVersions(this.#context, running));
    for (const worker of this.#workers) worker.start();
    this.#producer.start();
  }

  /** Lets what goes on end for `drainMs`, then gives it back. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await Promise.all([...this.#workers, this.#producer].map((part) => part.stop()));
  }

  /** Resolves when no run of its pipelines is left, no reingest goes on by itself and no delivery is due. */
  async untilDone(): Promise<void> {
    while (!this.#stopping.signal.aborted) {
      await this.#graphs?.untilDone();
      await this.#deliveries?.untilIdle();
      if (!(await hasReingestsThatGoOn(this.#context.pool, this.#pipelines))) return;
      await pause(200, this.#stopping.signal);
    }
  }

  get #workers(): readonly Worker[] {
    return [this.#graphs, this.#deliveries].filter((worker) => worker !== undefined);
  }
}

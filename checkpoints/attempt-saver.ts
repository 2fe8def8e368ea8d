import type { RunnableConfig } from "@langchain/core/runnables";
import type {
  ChannelVersions,
  Checkpoint,
  CheckpointListOptions,
  CheckpointMetadata,
  CheckpointTuple,
  PendingWrite,
} from "@langchain/langgraph-checkpoint";
import { LoregraphError } from "../src/errors.ts";
import type { Attempt } from "./attempt.ts";
import { deleteOwnCheckpoints } from "./delete.ts";
import { type Held, isNothing, nothing, withCheckpoint, withOlder, withWrites } from "./held.ts";
import { insisting } from "./insist.ts";
import type { Rows } from "./rows.ts";
import { CheckpointSaver, placeOf } from "./saver.ts";
import type { CheckpointWriter } from "./writer.ts";

export type AttemptSaverOptions = {
  /** What made the checkpoints; it stands in their metadata. */
  readonly stamp: string;
  /** May there be checkpoints of an earlier attempt? A first attempt reads none. */
  readonly resumable: boolean;
  /** May a checkpoint wait until saving it is worth it? Else each is committed when it is put. */
  readonly holds: boolean;
  /** Told when a write found the lease lost. */
  readonly onLost?: () => void;
  /** Told of what Postgres refused when it was saved in the background: an attempt after this one does more again. */
  readonly onRefused?: (error: unknown) => void;
  /** Work of nodes that took this long is saved soon after the last of them has ended, in milliseconds. Defaults to 100. */
  readonly longMs?: number;
  /** Work that took less is done again sooner than it is saved, in milliseconds. Defaults to 5. */
  readonly worthMs?: number;
  /** Other finished work is saved after this long at the latest, in milliseconds. Defaults to 500. */
  readonly holdMs?: number;
};

/** The longest that work which took long waits for the run's own commit, in milliseconds; at most a twentieth of what it took. */
const mostMs = 25;

/**
 * The checkpointer of one attempt, fenced: each statement names the lease, and one that finds it lost writes nothing.
 *
 * Where it `holds`, it saves when what would be lost costs more than saving it: soon after nodes that took long have
 * ended, or when other finished work has waited for a short time. A put resolves at once; `flush` waits until all is
 * committed, and what the run's own commit makes superfluous is never sent.
 */
export class AttemptSaver extends CheckpointSaver {
  readonly #writer: CheckpointWriter;
  readonly #attempt: Attempt;
  readonly #options: Required<AttemptSaverOptions>;
  #holds: boolean;
  #held: Held = nothing;
  #sending: Promise<void> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;
  #dueAt = 0;
  /** How long nodes took whose writes are held, in milliseconds. */
  #heldWork = 0;
  #stopped = false;
  /** When the newest step of each namespace began. */
  readonly #steps = new Map<string, number>();
  /** The newest checkpoint of each namespace that Postgres has, or null where it has none. */
  readonly #parents = new Map<string, string | null>();
  readonly #began = performance.now();

  constructor(writer: CheckpointWriter, attempt: Attempt, options: AttemptSaverOptions) {
    super(writer);
    this.#writer = writer;
    this.#attempt = attempt;
    this.#holds = options.holds;
    this.#options = {
      ...{ onLost: () => {}, onRefused: () => {}, longMs: 100, worthMs: 5, holdMs: 500 },
      ...options,
    };
  }

  // LangGraph stores nothing of the metadata that a graph is invoked with, so the stamp is added here.
  protected override noted(metadata: CheckpointMetadata) {
    return { ...metadata, stamp: this.#options.stamp };
  }

  override async put(
    config: RunnableConfig,
    checkpoint: Checkpoint,
    metadata: CheckpointMetadata,
    versions: ChannelVersions,
  ): Promise<RunnableConfig> {
    this.#steps.set(placeOf(config).ns, performance.now());
    // A channel that keeps what was written to it, and no value, is read back from the checkpoints before: all are needed.
    if ("delta_writes_versioned" in metadata) this.#holds = false;
    return await super.put(config, checkpoint, metadata, versions);
  }

  override async putWrites(
    config: RunnableConfig,
    writes: PendingWrite[],
    taskId: string,
    taskPath?: string,
  ): Promise<void> {
    const took = performance.now() - (this.#steps.get(placeOf(config).ns) ?? this.#began);
    await super.putWrites(config, writes, taskId, taskPath);
    if (this.#holds) this.#noteWork(took);
  }

  /** What was done is saved once it is worth that. Work that took long waits a moment all the same: the run may be about to end. */
  #noteWork(took: number): void {
    const { longMs, worthMs, holdMs } = this.#options;
    this.#heldWork += took;
    if (this.#heldWork >= longMs) this.#sendIn(Math.min(this.#heldWork / 20, mostMs));
    else if (this.#heldWork >= worthMs) this.#sendIn(holdMs);
  }

  override async getTuple(config: RunnableConfig): Promise<CheckpointTuple | undefined> {
    if (!this.#options.resumable && !this.#steps.has(placeOf(config).ns)) return undefined;
    await this.flush();
    return await super.getTuple(config);
  }

  override async *list(
    config: RunnableConfig,
    options?: CheckpointListOptions,
  ): AsyncGenerator<CheckpointTuple> {
    await this.flush();
    yield* super.list(config, options);
  }

  /** Drops what is held and deletes what was saved. Throws LEASE_LOST. */
  override async deleteThread(): Promise<void> {
    this.#take();
    await this.#sending;
    this.#take(); // what could not be sent was held again
    clearTimeout(this.#timer);
    this.#timer = undefined;
    await insisting(() => deleteOwnCheckpoints(this.#writer.pool, this.#attempt));
  }

  /** Resolves when all that was put is committed. Throws LEASE_LOST and DATABASE_UNAVAILABLE. */
  async flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const before = this.#sending;
    const sent = (async () => {
      await before;
      await this.#sendHeld();
    })();
    this.#sending = sent.catch(() => {}); // whoever waits for it is told; the next one tries again
    await sent;
  }

  /** Saves nothing more: the run has ended, or is another's. What a graph that was left behind still puts is dropped. */
  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#held = nothing;
  }

  /** Holds the rows, or resolves when they are committed. */
  protected override async write(rows: Rows): Promise<void> {
    if (this.#stopped) return;
    if (this.#holds) return this.#hold(rows);
    await this.flush();
    await this.#send(rows);
  }

  #hold({ checkpoints, blobs, writes }: Rows): void {
    for (const row of checkpoints) {
      if (!this.#parents.has(row.ns)) this.#parents.set(row.ns, row.parent);
      this.#held = withCheckpoint(this.#held, row, blobs);
    }
    this.#held = withWrites(this.#held, writes);
  }

  async #send(rows: Rows): Promise<void> {
    try {
      await this.#writer.write({ ...rows, attempt: this.#attempt });
    } catch (error) {
      if (isLost(error)) this.#options.onLost();
      throw error;
    }
  }

  #sendIn(ms: number): void {
    const dueAt = performance.now() + ms;
    if (this.#stopped || (this.#timer !== undefined && this.#dueAt <= dueAt)) return;
    clearTimeout(this.#timer);
    this.#dueAt = dueAt;
    this.#timer = setTimeout(() => {
      this.flush().catch((error) => this.#sendAgain(error));
    }, ms);
  }

  /** A database that is away is waited for. What it refuses is not sent again: it would be refused again. */
  #sendAgain(error: unknown): void {
    if (isAway(error)) this.#sendIn(this.#options.holdMs);
    else if (!isLost(error)) this.#options.onRefused(error);
  }

  async #sendHeld(): Promise<void> {
    const sending = this.#take();
    if (isNothing(sending)) return;
    try {
      await this.#send(this.#rowsOf(sending));
    } catch (error) {
      if (!this.#stopped && isAway(error)) this.#held = withOlder(this.#held, sending);
      throw error;
    }
    for (const { ns, id } of sending.checkpoints.values()) this.#parents.set(ns, id);
  }

  /** What is held, which is held no longer. */
  #take(): Held {
    const held = this.#held;
    [this.#held, this.#heldWork] = [nothing, 0];
    return held;
  }

  /** Its parent is the newest one that Postgres has: those between were never sent. */
  #rowsOf({ checkpoints, blobs, writes }: Held): Rows {
    const rows = [...checkpoints.values()].map((row) => ({
      ...row,
      parent: this.#parents.get(row.ns) ?? null,
    }));
    return {
      thread_id: this.#attempt.id,
      checkpoints: rows,
      blobs: [...blobs.values()],
      writes: [...writes.values()],
    };
  }
}

function isLost(error: unknown): boolean {
  return error instanceof LoregraphError && error.code === "LEASE_LOST";
}

function isAway(error: unknown): boolean {
  return error instanceof LoregraphError && error.code === "DATABASE_UNAVAILABLE";
}

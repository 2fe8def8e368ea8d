import type { RunnableConfig } from "@langchain/core/runnables";
import {
  BaseCheckpointSaver,
  type ChannelVersions,
  type Checkpoint,
  type CheckpointListOptions,
  type CheckpointMetadata,
  type CheckpointTuple,
  type PendingWrite,
  type SerializerProtocol,
} from "@langchain/langgraph-checkpoint";
import { z } from "zod";
import { openPool } from "../src/db.ts";
import { deleteCheckpoints } from "./delete.ts";
import { insisting } from "./insist.ts";
import { tupleOf } from "./load.ts";
import { type Asked, readCheckpoints, type StoredCheckpoint } from "./read.ts";
import { blobRows, checkpointRow, type Place, type Rows, writeRows } from "./rows.ts";
import { CheckpointWriter } from "./writer.ts";

/** How many checkpoints a list reads at a time. */
const pageSize = 50;

/**
 * A LangGraph checkpointer on LangGraph's own Postgres tables: its `PostgresSaver` reads what this writes, and the
 * other way round. A put resolves when it is committed; puts that are due together are one statement.
 */
export class CheckpointSaver extends BaseCheckpointSaver {
  readonly #writer: CheckpointWriter;

  constructor(writer: CheckpointWriter, serde?: SerializerProtocol) {
    super(serde);
    this.#writer = writer;
  }

  /** The metadata that a checkpoint is kept with. */
  protected noted(metadata: CheckpointMetadata): CheckpointMetadata & { readonly stamp?: string } {
    return metadata;
  }

  override async put(
    config: RunnableConfig,
    checkpoint: Checkpoint,
    metadata: CheckpointMetadata,
    versions: ChannelVersions,
  ): Promise<RunnableConfig> {
    const place = placeOf(config);
    const [row, blobs] = await Promise.all([
      checkpointRow(this.serde, place, checkpoint, this.noted(metadata)),
      blobRows(this.serde, place, checkpoint, versions),
    ]);
    await this.write({ thread_id: place.thread_id, checkpoints: [row], blobs, writes: [] });
    return configAt(place, checkpoint.id);
  }

  override async putWrites(
    config: RunnableConfig,
    writes: PendingWrite[],
    taskId: string,
    taskPath = "",
  ): Promise<void> {
    const place = checkpointOf(config);
    const rows = await writeRows(this.serde, place, writes, { id: taskId, path: taskPath });
    await this.write({ thread_id: place.thread_id, checkpoints: [], blobs: [], writes: rows });
  }

  override async getTuple(config: RunnableConfig): Promise<CheckpointTuple | undefined> {
    if (config.configurable?.thread_id === undefined) return undefined;
    const { thread_id, ns, checkpoint_id } = placeOf(config);
    const [stored] = await this.#read({ thread_id, ns, checkpoint_id, limit: 1 });
    return stored && (await this.#tuple(stored));
  }

  /** Newest first, a page at a time, however many there are. */
  override async *list(
    config: RunnableConfig,
    { filter, before, limit = Number.POSITIVE_INFINITY }: CheckpointListOptions = {},
  ): AsyncGenerator<CheckpointTuple> {
    const asked = askedFor(config, before, filter);
    let after: StoredCheckpoint | undefined;
    for (let left = limit; left > 0; ) {
      const page = await this.#read({ ...asked, after, limit: Math.min(left, pageSize) });
      for (const stored of page) yield await this.#tuple(stored);
      left -= page.length;
      after = page.at(-1);
      if (page.length < pageSize) return;
    }
  }

  override async deleteThread(thread_id: string): Promise<void> {
    await insisting(() => deleteCheckpoints(this.#writer.pool, thread_id));
  }

  /**
   * A version that no other branch of the thread makes: values are stored by it, so two forks of one checkpoint would
   * else take each other's for their own. It counts as the plain number does.
   */
  override getNextVersion(current: number | undefined): number {
    return Math.floor(current ?? 0) + 1 + fraction();
  }

  /** Resolves when the rows are committed. Throws DATABASE_UNAVAILABLE. */
  protected async write(rows: Rows): Promise<void> {
    await this.#writer.write(rows);
  }

  async #read(asked: Asked): Promise<readonly StoredCheckpoint[]> {
    return await insisting(() => readCheckpoints(this.#writer.pool, asked));
  }

  async #tuple(stored: StoredCheckpoint): Promise<CheckpointTuple> {
    return await insisting(() => tupleOf(this.#writer.pool, this.serde, stored));
  }
}

/** Never 0, so that a version is not taken for one of a saver that counts in whole numbers; nine digits. */
function fraction(): number {
  return (1 + Math.floor(Math.random() * 999_999_999)) / 1_000_000_000;
}

const Configurable = z.object({
  thread_id: z.coerce.string(),
  checkpoint_ns: z.string().default(""),
  checkpoint_id: z.string().optional(),
});

/** Throws where the config names no thread. */
export function placeOf({ configurable }: RunnableConfig): Place {
  if (configurable?.thread_id === undefined)
    throw new Error(
      'expected config.configurable.thread_id, got: none; pass { configurable: { thread_id: "…" } }',
    );
  const { thread_id, checkpoint_ns: ns, checkpoint_id } = Configurable.parse(configurable);
  return { thread_id, ns, checkpoint_id };
}

/** Throws where the config names no checkpoint, too. */
function checkpointOf(config: RunnableConfig): Place & { readonly checkpoint_id: string } {
  const { checkpoint_id, ...place } = placeOf(config);
  if (checkpoint_id === undefined)
    throw new Error("expected config.configurable.checkpoint_id, got: none; writes belong to a checkpoint");
  return { ...place, checkpoint_id };
}

function configAt({ thread_id, ns }: Place, checkpoint_id: string): RunnableConfig {
  return { configurable: { thread_id, checkpoint_ns: ns, checkpoint_id } };
}

function askedFor(
  { configurable = {} }: RunnableConfig,
  before: RunnableConfig | undefined,
  filter: Readonly<Record<string, unknown>> | undefined,
): Omit<Asked, "limit"> {
  const { thread_id, checkpoint_ns, checkpoint_id } = Configurable.partial().parse(configurable);
  return {
    thread_id: configurable.thread_id === undefined ? undefined : thread_id,
    ns: configurable.checkpoint_ns === undefined ? undefined : checkpoint_ns,
    checkpoint_id,
    before: before?.configurable?.checkpoint_id,
    filter,
  };
}

export type OpenSaver = CheckpointSaver & { end(): Promise<void> };

/**
 * A checkpointer of its own on the migrated schema of `url`, for graphs outside a worker; `end` closes its
 * connections. `schema` defaults to `loregraph`, `max`, the most connections, to 4.
 */
export function openCheckpointSaver(url: string, options: { schema?: string; max?: number } = {}): OpenSaver {
  const pool = openPool(url, { max: 4, name: "loregraph checkpoints", ...options });
  return Object.assign(new CheckpointSaver(new CheckpointWriter(pool)), { end: () => pool.end() });
}

import type { Db } from "../db.ts";
import type { RunThread } from "../ledger/threads.ts";
import { readChunks, readDocument } from "../store/documents.ts";
import { previousOutput } from "../store/enrichments.ts";
import { readEntity } from "../store/entities.ts";
import type { Thread } from "./thread.ts";
import type { WireCheckpoint, WireState } from "./wire.ts";

/**
 * What the ledger knows of a run of which no checkpoint, or not the last one, was kept: its entity, and what its pipeline
 * stored for it. `after` is the newest that there is.
 */
export async function ledgerState(
  db: Db,
  { run, thread_id }: Thread,
  after: WireCheckpoint | null = null,
): Promise<WireState> {
  const [entity, output] = await Promise.all([readEntity(db, run), storedOutput(db, run)]);
  const open = run.status === "pending" || run.status === "running";
  return {
    values: { ...entity, ...output },
    next: open ? ["__start__"] : [],
    tasks: [],
    metadata: { source: "ledger", step: -1, parents: {}, note: noteOn(run, after) },
    created_at: run.finished_at?.toISOString() ?? null,
    checkpoint: { thread_id, checkpoint_ns: "", checkpoint_id: null, checkpoint_map: null },
    parent_checkpoint: after,
  };
}

async function storedOutput(db: Db, run: RunThread): Promise<Record<string, unknown> | undefined> {
  if (run.status !== "success") return undefined;
  if (run.pipeline !== "base") return asRecord(await previousOutput(db, run, run.pipeline));
  const document = await readDocument(db, run);
  return document && { kind: document.kind, language: document.language, chunks: await readChunks(db, run) };
}

function asRecord(output: unknown): Record<string, unknown> | undefined {
  return typeof output === "object" && output !== null ? { ...output } : undefined;
}

/** Why there is no history, and what would keep one. */
function noteOn({ status, outcome, pipeline }: RunThread, after: WireCheckpoint | null): string {
  if (status === "pending") return "it has not begun: shown is its entity, as it is now";
  if (status === "running") return "it has saved no checkpoint yet: shown is its entity, as it is now";
  if (outcome === "duplicate_skipped")
    return "nothing had changed, so its graph did not run: shown is its entity and what is stored for it";
  const missing = after
    ? "its last steps were not kept: a run saves no more than it would lose. "
    : "no history was kept: a quick run saves no checkpoint, and those of runs that have ended are deleted in time. ";
  return (
    missing +
    "Shown is its entity and what is stored for it, as they are now. " +
    `\`checkpoints: { history: true }\` in the pipeline ${pipeline} keeps every state of the runs to come`
  );
}

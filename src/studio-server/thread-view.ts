import { z } from "zod";
import type { Fork } from "../forks/fork.ts";
import type { Status } from "../ledger/states.ts";
import type { RunThread } from "../ledger/threads.ts";
import { assistantIdOf } from "./assistants.ts";
import type { Thread } from "./thread.ts";
import type { WireState } from "./wire.ts";

/** The states that the protocol knows. */
export const ThreadStatus = z.enum(["idle", "busy", "interrupted", "error"]);
export type ThreadStatus = z.infer<typeof ThreadStatus>;

const statuses = {
  pending: "busy",
  running: "busy",
  waiting: "interrupted",
  success: "idle",
  cancelled: "idle",
  failed: "error",
} as const satisfies Record<Status, ThreadStatus>;

/** The statuses of runs that the protocol knows by this one. */
export function statusesOf(status: ThreadStatus): readonly Status[] {
  return Object.entries(statuses).flatMap(([ours, theirs]) => (theirs === status ? (ours as Status) : []));
}

/** A thread as LangGraph's clients read it; its values and interrupts where its state is given. */
export function viewThread(thread: Thread, state: WireState | undefined) {
  const { thread_id, run, fork } = thread;
  const changed = (run.finished_at ?? run.started_at ?? run.created_at).toISOString();
  const interrupts = state === undefined ? {} : interruptsOf(state);
  return {
    thread_id,
    created_at: (fork ?? run).created_at.toISOString(),
    updated_at: state?.created_at ?? (fork?.created_at.toISOString() || changed),
    state_updated_at: state?.created_at ?? changed,
    metadata: fork ? { ...metadataOf(run), ...metadataOfFork(fork) } : metadataOf(run),
    status: fork ? (Object.keys(interrupts).length > 0 ? "interrupted" : "idle") : statuses[run.status],
    config: {},
    values: state?.values ?? null,
    interrupts,
    error: fork || run.error_code === null ? null : { error: run.error_code, message: run.error_message },
  };
}

function metadataOfFork({ run_id, checkpoint_id, status, made_by, promoted_run_id, expires_at }: Fork) {
  return {
    kind: "fork",
    run_id,
    checkpoint_id,
    status,
    outcome: null,
    made_by,
    promoted_run_id,
    expires_at: expires_at?.toISOString() ?? null,
  };
}

function metadataOf(run: RunThread) {
  const { tenant_id, source_type, source_id, source_version, status, outcome, model } = run;
  return {
    kind: "run",
    graph_id: run.pipeline,
    assistant_id: assistantIdOf(run.pipeline),
    tenant_id,
    pipeline: run.pipeline,
    version: run.pipeline_version,
    model,
    source_type,
    source_id,
    source_version,
    status,
    outcome,
  };
}

function interruptsOf({ tasks }: WireState): Record<string, readonly unknown[]> {
  return Object.fromEntries(
    tasks.flatMap(({ id, interrupts }) => (interrupts.length > 0 ? [[id, interrupts]] : [])),
  );
}

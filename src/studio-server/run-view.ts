import type { Fork } from "../forks/fork.ts";
import type { Status } from "../ledger/states.ts";
import type { RunThread } from "../ledger/threads.ts";
import { assistantIdOf } from "./assistants.ts";

/** The states that a run of the protocol knows. */
export type WireRunStatus = "pending" | "running" | "error" | "success" | "timeout" | "interrupted";

const statuses = {
  pending: "pending",
  running: "running",
  waiting: "interrupted",
  success: "success",
  failed: "error",
  cancelled: "interrupted",
} as const satisfies Record<Status, WireRunStatus>;

/** The one run that the ledger has of a thread, as LangGraph's clients read it. */
export function viewRun(run: RunThread) {
  const changed = run.finished_at ?? run.started_at ?? run.created_at;
  return {
    run_id: run.id,
    thread_id: run.id,
    assistant_id: assistantIdOf(run.pipeline),
    created_at: run.created_at.toISOString(),
    updated_at: changed.toISOString(),
    status: statuses[run.status],
    metadata: { tenant_id: run.tenant_id, pipeline: run.pipeline, outcome: run.outcome },
    multitask_strategy: "reject",
  };
}

/** A run of a fork, which the ledger does not know. */
export function viewForkRun({ run_id, fork, status, created_at, updated_at }: ForkRun) {
  return {
    run_id,
    thread_id: fork.id,
    assistant_id: assistantIdOf(fork.pipeline),
    created_at: created_at.toISOString(),
    updated_at: updated_at.toISOString(),
    status,
    metadata: { tenant_id: fork.tenant_id, pipeline: fork.pipeline, fork_of: fork.run_id },
    multitask_strategy: "reject",
  };
}

export type ForkRun = {
  readonly run_id: string;
  readonly fork: Fork;
  readonly status: WireRunStatus;
  readonly created_at: Date;
  readonly updated_at: Date;
};

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

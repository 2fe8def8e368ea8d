import { LoregraphError } from "../errors.ts";
import { findRunThread, type RunThread } from "../ledger/threads.ts";
import type { Pipeline } from "../pipeline.ts";
import type { StudioServices } from "./services.ts";

/** A thread of the protocol: a run of ours. */
export type Thread = {
  readonly thread_id: string;
  readonly run: RunThread;
  /** Undefined where `langgraph.json` names it no more. */
  readonly pipeline: Pipeline | undefined;
};

/** The thread of this id. Throws NOT_FOUND, also where it is of a tenant that is not shown. */
export async function findThread(services: StudioServices, thread_id: string): Promise<Thread> {
  const { reads, tenant_id } = services;
  const run = await findRunThread(reads, thread_id, tenant_id);
  if (run) return threadOf(services, run);
  const where = tenant_id === undefined ? "" : ` of tenant ${tenant_id}`;
  throw new LoregraphError("NOT_FOUND", `expected the id of a run${where}, got: ${thread_id}`);
}

export function threadOf({ registry }: Pick<StudioServices, "registry">, run: RunThread): Thread {
  return { thread_id: run.id, run, pipeline: registry.get(run.pipeline) };
}

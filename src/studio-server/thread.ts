import { LoregraphError } from "../errors.ts";
import { type Fork, findFork } from "../forks/fork.ts";
import { findRunThread, type RunThread } from "../ledger/threads.ts";
import type { Pipeline } from "../pipeline.ts";
import type { StudioServices } from "./services.ts";

/** A thread of the protocol: a run of ours, or a fork of one. */
export type Thread = {
  readonly thread_id: string;
  /** Of a fork, the run that it was made of. */
  readonly run: RunThread;
  readonly fork?: Fork | undefined;
  /** Undefined where `langgraph.json` names it no more. */
  readonly pipeline: Pipeline | undefined;
};

/** The thread of this id. Throws NOT_FOUND, also where it is of a tenant that is not shown, or a fork that has gone. */
export async function findThread(services: StudioServices, thread_id: string): Promise<Thread> {
  const { reads, tenant_id } = services;
  const run = await findRunThread(reads, thread_id, tenant_id);
  if (run) return threadOf(services, run);
  const fork = await findFork(reads, thread_id, tenant_id);
  const of = fork && (await findRunThread(reads, fork.run_id, fork.tenant_id));
  if (fork && of && fork.expires_at) return forkThread(services, of, fork);
  const where = tenant_id === undefined ? "" : ` of tenant ${tenant_id}`;
  const got = fork ? `${thread_id}, a fork that is ${fork.status} and has no states any more` : thread_id;
  throw new LoregraphError("NOT_FOUND", `expected the id of a run${where}, or of a fork of one, got: ${got}`);
}

export function threadOf({ registry }: Pick<StudioServices, "registry">, run: RunThread): Thread {
  return { thread_id: run.id, run, pipeline: registry.get(run.pipeline) };
}

export function forkThread(services: Pick<StudioServices, "registry">, run: RunThread, fork: Fork): Thread {
  return { ...threadOf(services, run), thread_id: fork.id, fork };
}

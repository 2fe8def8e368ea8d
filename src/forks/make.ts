import { copyThread, findRoot, type Root } from "../../checkpoints/fork.ts";
import { type Pool, transaction } from "../db.ts";
import { LoregraphError } from "../errors.ts";
import type { RunThread } from "../ledger/threads.ts";
import type { Models } from "../models/models.ts";
import { type Pipeline, SourceType, type Stamp } from "../pipeline.ts";
import type { Registry } from "../registry.ts";
import { makerOf, stampKey } from "../store/stamps.ts";
import { type Fork, insertFork } from "./fork.ts";

export type ForkContext = { readonly pool: Pool; readonly registry: Registry; readonly models: Models };

/**
 * Makes a fork of a run at one of its checkpoints, the newest where none is named: the thread up to there is copied, and
 * the run stays as it is. Throws CHECKPOINT_UNKNOWN, and FORK_REFUSED where what made the run is not what would go on.
 */
export async function makeFork(
  { pool, registry, models }: ForkContext,
  run: RunThread,
  { checkpoint_id, by }: { readonly checkpoint_id?: string | undefined; readonly by: string },
): Promise<Fork> {
  const pipeline = samePipeline(registry, models, run.pipeline, stampOfRun(run));
  return await transaction(pool, async (db) => {
    const root = await findRoot(db, run.id, checkpoint_id);
    if (root === undefined) throw noCheckpoint(run, checkpoint_id);
    assertSameStamp(run, root);
    const { keepHours } = pipeline.checkpoints;
    const about = { ...run, source_type: SourceType.parse(run.source_type), run_id: run.id };
    const fork = await insertFork(db, {
      ...about,
      checkpoint_id: root.checkpoint_id,
      stamp: stampOfRun(run),
      made_by: by,
      keepHours,
    });
    await copyThread(db, { from: run.id, upto: root.checkpoint_id, to: fork.id });
    return fork;
  });
}

/**
 * The pipeline of this name, if it would make its answers as this stamp says. Throws FORK_REFUSED, naming what differs:
 * what one version began, another must not end.
 */
export function samePipeline(registry: Registry, models: Models, name: string, stamp: Stamp): Pipeline {
  const pipeline = registry.get(name);
  if (pipeline === undefined)
    throw refused(`langgraph.json names no pipeline ${name} any more, so nothing can go on from there`);
  const maker = makerOf(pipeline, models);
  const differs = Object.entries(maker).flatMap(([part, now]) => {
    const then = stamp[part as keyof Stamp];
    const unknown = part === "fingerprint" && then === "";
    return then === now || unknown ? [] : [`${part.replaceAll("_", " ")} was ${then}, is ${now}`];
  });
  if (differs.length === 0) return pipeline;
  throw refused(
    `${name} is not what it was (${differs.join("; ")}): what one began, another must not go on with`,
  );
}

export function refused(message: string): LoregraphError {
  return new LoregraphError("FORK_REFUSED", message);
}

/** What made a run's checkpoints. Throws FORK_REFUSED where its graph never began. */
function stampOfRun(run: RunThread): Stamp {
  const { id, pipeline_version, model, prompt_hash, input_hash, fingerprint } = run;
  if (pipeline_version === null || model === null || prompt_hash === null || input_hash === null)
    throw refused(`the graph of run ${id} has not begun: there is no state to go on from`);
  return { pipeline_version, model, prompt_hash, input_hash, fingerprint: fingerprint ?? "" };
}

function assertSameStamp(run: RunThread, { stamp }: Root): void {
  if (stamp === null || stamp === stampKey(stampOfRun(run))) return;
  throw refused(
    `the checkpoints of run ${run.id} were made by something else than the run: it started over since`,
  );
}

function noCheckpoint({ id }: RunThread, checkpoint_id: string | undefined): LoregraphError {
  const which =
    checkpoint_id === undefined ? "no checkpoint" : `no checkpoint ${checkpoint_id.slice(0, 100)}`;
  return new LoregraphError(
    "CHECKPOINT_UNKNOWN",
    `run ${id} has ${which} to go on from: none was kept, or it was deleted`,
  );
}

import { type Db, transaction } from "../db.ts";
import { LoregraphError } from "../errors.ts";
import { insertForcedRun, runningRun, takeClaimTurn } from "../ledger/forced.ts";
import type { Entity, Pipeline } from "../pipeline.ts";
import { lockEntities, readEntity } from "../store/entities.ts";
import { checkedAnswer } from "../worker/answer.ts";
import { commitEndings } from "../worker/group.ts";
import { settled } from "../worker/settled.ts";
import { type Fork, lockOpenFork, notePromotion } from "./fork.ts";
import { type ForkContext, refused, samePipeline } from "./make.ts";
import { openFork } from "./open.ts";

export type Promotion = { readonly run_id: string; readonly fork_id: string };

/**
 * Makes a fork's answer the stored one, by a run of its own that ends as a worker's does: checked against its schema, with
 * its events and the runs that follow, in one transaction, once. Throws STATE_TRANSITION where the fork is not open, or
 * its graph has not finished, and FORK_REFUSED where its entity has changed since, unless `anyway`, or is being run.
 */
export async function promoteFork(
  context: ForkContext,
  fork: Fork,
  { by, anyway = false }: { readonly by: string; readonly anyway?: boolean },
): Promise<Promotion> {
  const pipeline = samePipeline(context.registry, context.models, fork.pipeline, fork.stamp);
  return await transaction(
    context.pool,
    async (db) => {
      const open = await lockOpenFork(db, fork);
      if (open === undefined) throw notOpen(fork);
      const answer = checkedAnswer(pipeline, await finalValues(context, open));
      const entity = await forkedEntity(db, open, pipeline, anyway);
      await takeClaimTurn(db);
      const busy = await runningRun(db, open);
      if (busy !== undefined) throw refused(`run ${busy} of it is running: promote when that has ended`);
      const worker = `fork promoted by ${by}`;
      const run = await insertForcedRun(db, { ...open, parent_run_id: open.run_id, worker });
      const ending = { kind: "answered", answer, stamp: open.stamp } as const;
      await commitEndings(db, context.registry, [
        settled({ run, pipeline, entity, ending, usage: open.usage, calls: [] }),
      ]);
      await notePromotion(db, open, run.id);
      return { run_id: run.id, fork_id: open.id };
    },
    patient,
  );
}

/** An import may hold the entity for a moment; nobody waits behind us for longer. */
const patient = "begin; set local lock_timeout = '5s'";

async function finalValues(context: ForkContext, fork: Fork): Promise<unknown> {
  const { graph } = await openFork(context, fork);
  const state = await graph.getState({ configurable: { thread_id: fork.id } });
  if (state.createdAt !== undefined && state.tasks.length === 0) return state.values;
  const next = state.next.join(", ") || "its next step";
  throw new LoregraphError(
    "STATE_TRANSITION",
    `the fork ${fork.id} has not finished: run it to its end first; ${next} comes next`,
  );
}

/** What the answer is about, as it was when the run read it; while it is locked, nobody changes it. */
async function forkedEntity(db: Db, fork: Fork, { kind }: Pipeline, anyway: boolean): Promise<Entity> {
  await lockEntities(db, [fork]);
  const entity = await readEntity(db, fork);
  if (entity === undefined) throw refused("its entity was deleted");
  if (entity.version === fork.source_version) return entity;
  const changed = `its entity is at version ${entity.version}, the fork's answer is about version ${fork.source_version}`;
  if (kind === "ingestion") throw refused(`${changed}: chunks of another text cannot be stored`);
  if (!anyway) throw refused(`${changed}; --anyway stores it as an answer about that one`);
  return { ...entity, version: fork.source_version };
}

function notOpen({ id }: Fork): LoregraphError {
  return new LoregraphError(
    "STATE_TRANSITION",
    `the fork ${id} is not open: it was promoted, dropped or has expired`,
  );
}

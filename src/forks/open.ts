import { randomUUID } from "node:crypto";
import { ForkSaver } from "../../checkpoints/fork.ts";
import { CheckpointWriter } from "../../checkpoints/writer.ts";
import { orUnavailable } from "../db.ts";
import { assertBudget } from "../ledger/budgets.ts";
import { knownVectors } from "../store/documents.ts";
import { readEntity } from "../store/entities.ts";
import { stampKey } from "../store/stamps.ts";
import { CallLog } from "../worker/call-log.ts";
import { readerFor } from "../worker/tools.ts";
import type { Fork } from "./fork.ts";
import { type ForkContext, refused, samePipeline } from "./make.ts";

/**
 * The graph of a fork, ready to be run or edited: lent the tools that a worker lends, with a checkpointer that writes
 * into the fork's own thread alone. What it asks of models is on the tenant's bill, and where a budget is spent it asks
 * nothing. Throws FORK_REFUSED where the fork is over, its entity gone, or its pipeline not what it was.
 */
export async function openFork({ pool, registry, models }: ForkContext, fork: Fork) {
  if (fork.status !== "open") throw refused(`the fork ${fork.id} is ${fork.status}: make another one`);
  const pipeline = samePipeline(registry, models, fork.pipeline, fork.stamp);
  const entity = await readEntity(pool, fork);
  if (entity === undefined) throw refused("its entity was deleted, so there is nothing to go on about");
  const { tenant_id } = fork;
  const caller = callerOf(fork);
  const calls = new CallLog(caller);
  const { model, embed, usage } = models.lend({
    known: (hashes) => orUnavailable(() => knownVectors(pool, tenant_id, models.embeddingName, hashes)),
    before: () => orUnavailable(() => assertBudget(pool, caller)),
    onCall: async (call) => {
      calls.add(call);
      await orUnavailable(() => calls.noteNow(pool));
    },
  });
  const checkpointer = new ForkSaver(new CheckpointWriter(pool), fork.id, stampKey(fork.stamp));
  const read = readerFor(pool, entity, pipeline.name);
  const graph = pipeline.graph({ model, embed, read }).compile({ name: pipeline.name, checkpointer });
  return { graph, pipeline, usage };
}

/** Its calls are those of no attempt: they stand under its own id, and are told apart by when it was opened. */
function callerOf({ tenant_id, id, pipeline }: Fork) {
  return { tenant_id, id, pipeline, lease_token: randomUUID(), reingest_id: null, attempt: 0 };
}

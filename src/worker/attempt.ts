import { z } from "zod";
import { fencedSaver } from "../../checkpoints/saver.ts";
import { orUnavailable } from "../db.ts";
import { LoregraphError } from "../errors.ts";
import { startAttempt } from "../ledger/attempt.ts";
import type { ClaimedRun } from "../ledger/run.ts";
import type { Lent } from "../models/models.ts";
import type { Entity, Pipeline } from "../pipeline.ts";
import { knownVectors } from "../store/documents.ts";
import { readEntity } from "../store/entities.ts";
import { sameStamp, stampKey, storedStamp } from "../store/stamps.ts";
import { type Committed, commitEnding } from "./commit.ts";
import type { Context } from "./context.ts";
import { endingOf, type GraphEnding, Stop } from "./ending.ts";
import { invokeGraph } from "./invoke.ts";
import { readerFor, stampOf } from "./tools.ts";

/** One try at a run that a worker has claimed: it ends with its commit, whatever happens, or throws where it is abandoned. */
export type Attempt = (context: Context, run: ClaimedRun, stop: AbortController) => Promise<Committed>;

/** One try at a run: read what it is about, run its graph unless nothing has changed, and commit how it ended. */
export async function runAttempt(
  context: Context,
  run: ClaimedRun,
  stop: AbortController,
): Promise<Committed> {
  const started = performance.now();
  const pipeline = pipelineOf(context, run);
  const lent = lendModels(context, run);
  const entity = await readEntity(context.pool, run);
  const ending = entity ? await tryRun(context, { run, pipeline, entity, lent }, stop) : gone;
  const ended = { run, pipeline, entity, ending, usage: lent.usage() };
  const committed = await commitEnding(context, ended, stop.signal);
  const ms = Math.round(performance.now() - started);
  context.log.debug({ ending: committed.ending.kind, ms }, "attempt-ended");
  return { ...committed, usage: ended.usage };
}

const gone = { kind: "cancelled", reason: "its entity was deleted" } as const satisfies GraphEnding;

function pipelineOf({ registry }: Context, { pipeline }: ClaimedRun): Pipeline {
  const found = registry.get(pipeline);
  if (found) return found;
  throw new LoregraphError("REGISTRY_INVALID", `langgraph.json names no pipeline ${pipeline}`);
}

/**
 * Lends models to one attempt: what it uses is counted for it, what its tenant embedded before is reused, and no chat
 * model is asked while another attempt may be at the same run.
 */
function lendModels({ models, pool, sure }: Context, run: ClaimedRun): Lent {
  const { embeddingName } = models;
  const { tenant_id } = run;
  return models.lend({
    known: (hashes) => orUnavailable(() => knownVectors(pool, tenant_id, embeddingName, hashes)),
    before: async () => await sure?.(run),
  });
}

type Work = {
  readonly run: ClaimedRun;
  readonly pipeline: Pipeline;
  readonly entity: Entity;
  readonly lent: Lent;
};

async function tryRun(context: Context, work: Work, stop: AbortController): Promise<GraphEnding> {
  const timer = setTimeout(() => stop.abort(new Stop("timed out")), work.pipeline.timeout);
  try {
    return await runGraph(context, work, stop.signal);
  } catch (error) {
    return endingOf(error, stop.signal);
  } finally {
    clearTimeout(timer);
  }
}

async function runGraph(
  context: Context,
  { run, pipeline, entity, lent }: Work,
  signal: AbortSignal,
): Promise<GraphEnding> {
  const { pool, schema, models } = context;
  const read = readerFor(pool, entity, pipeline.name);
  const stamp = await stampOf(pipeline, entity, read, models);
  const stored = await orUnavailable(() => storedStamp(pool, entity, pipeline));
  if (stored && sameStamp(stored, stamp) && !run.force) return { kind: "duplicate", stamp };

  await orUnavailable(() => startAttempt(pool, run, stamp));
  const result = await invokeGraph({
    pipeline,
    tools: { model: lent.model, embed: lent.embed, read },
    entity,
    thread_id: run.id,
    saver: fencedSaver(pool, schema, run, stampKey(stamp)),
    stamp: stampKey(stamp),
    resumable: run.claimed_before,
    signal,
  });
  if (result.kind === "waiting") return result;
  assertKnownEvents(pipeline, result.answer);
  return { ...result, stamp };
}

const Events = z.array(z.object({ event: z.string() })).default([]);

function assertKnownEvents({ name, emits }: Pipeline, answer: Record<string, unknown>): void {
  const unknown = Events.parse(answer.events).find(({ event }) => !emits.includes(event));
  if (unknown === undefined) return;
  const announced = emits.join(", ") || "none";
  throw new LoregraphError(
    "EVENT_UNKNOWN",
    `${name}: expected an event that it announces (${announced}), got: ${unknown.event}`,
  );
}

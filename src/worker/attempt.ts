import { AttemptSaver } from "../../checkpoints/attempt-saver.ts";
import { deleteCheckpoints } from "../../checkpoints/delete.ts";
import { orUnavailable } from "../db.ts";
import { LoregraphError } from "../errors.ts";
import { assertBudget } from "../ledger/budgets.ts";
import { chatModelsOf } from "../ledger/calls.ts";
import { leaseLost } from "../ledger/lease.ts";
import { answersTo, setAnswersAside } from "../ledger/questions.ts";
import type { ClaimedRun } from "../ledger/run.ts";
import type { Lent } from "../models/models.ts";
import type { Entity, Pipeline, Stamp } from "../pipeline.ts";
import { pipelineOfRun } from "../registry.ts";
import { candidateStamp } from "../store/candidates.ts";
import { knownVectors } from "../store/documents.ts";
import { sameStamp, stampKey } from "../store/stamps.ts";
import type { Subject } from "../store/subjects.ts";
import { CallLog } from "./call-log.ts";
import { type Committed, commitEnding } from "./commit.ts";
import type { Context } from "./context.ts";
import type { Ended } from "./ended.ts";
import { endingOf, type GraphEnding, Stop } from "./ending.ts";
import { invokeGraph } from "./invoke.ts";
import { kindOf, safely } from "./loop.ts";
import { gone, isTried } from "./settled.ts";
import { Timer } from "./timer.ts";
import type { SharedContext } from "./together.ts";
import { readerFor, stampOf } from "./tools.ts";

/** One try at a run that a worker has claimed: it ends with its commit, whatever happens, or throws where it is abandoned. */
export type Attempt = (context: SharedContext, run: ClaimedRun, stop: AbortController) => Promise<Committed>;

/** One try at a run: read what it is about, run its graph unless nothing has changed, and commit how it ended. */
export async function runAttempt(
  context: SharedContext,
  run: ClaimedRun,
  stop: AbortController,
): Promise<Committed> {
  const started = performance.now();
  const pipeline = pipelineOf(context, run);
  const calls = new CallLog(run);
  const timer = new Timer(pipeline.timeout, () => stop.abort(new Stop("timed out")));
  const answered = new Set<string>();
  const lent = lendModels(context, { run, pipeline, timer, calls, answered });
  const { entity, ending } = await tryRun(context, { run, pipeline, lent, answered }, stop);
  timer.stop();
  context.worked?.(run);
  const ended = { run, pipeline, entity, ending, usage: lent.usage(), calls: calls.due() };
  const committed = await commitEnding(context, ended, stop.signal);
  await deleteAtOnce(context, { run, pipeline }, committed.ending);
  if (isAccepted(pipeline, committed.ending)) await safely(context.log, "answers-kept", lent.keep);
  const ms = Math.round(performance.now() - started);
  context.log.debug({ ending: committed.ending.kind, ms }, "attempt-ended");
  return { ...committed, usage: ended.usage };
}

/** An answer that its pipeline rejects is none that others should be served. */
function isAccepted(pipeline: Pipeline, ending: Committed["ending"]): boolean {
  return ending.kind === "answered" && pipeline.outcome(ending.answer) !== "eval_rejected";
}

/** Where a pipeline keeps no checkpoints of what has ended, they go now; where that fails, the next walk frees them. */
async function deleteAtOnce(
  { pool, log }: Context,
  { run, pipeline }: Pick<Work, "run" | "pipeline">,
  { kind }: Committed["ending"],
): Promise<void> {
  if (pipeline.checkpoints.keepHours > 0 || (kind !== "answered" && kind !== "cancelled")) return;
  await safely(log, "checkpoints-deleted", () => deleteCheckpoints(pool, run.id));
}

function pipelineOf({ registry }: Context, { pipeline }: ClaimedRun): Pipeline {
  const found = pipelineOfRun(registry, pipeline);
  if (found) return found;
  throw new LoregraphError("REGISTRY_INVALID", `langgraph.json names no pipeline ${pipeline}`);
}

/**
 * Lends models to one attempt: what it uses is counted for it, what its tenant embedded before is reused, and no model
 * server is asked while another attempt may be at the same run, nor where a budget is spent. Waiting for a turn takes none
 * of its time.
 */
function lendModels(context: Context, { run, pipeline, timer, calls, answered }: Lending): Lent {
  const { models, pool, sure } = context;
  const { embeddingName } = models;
  const { tenant_id } = run;
  return models.lend({
    asker: { tenant_id, run_id: run.id, pipeline: run.pipeline, fresh: run.force || run.attempt > 0 },
    models: pipeline.models,
    hold: () => timer.hold(),
    known: (hashes) => orUnavailable(() => knownVectors(pool, tenant_id, embeddingName, hashes)),
    before: async () => {
      if (run.budgeted) await orUnavailable(() => assertBudget(pool, run));
      await sure?.(run);
    },
    onCall: async (call) => {
      calls.add(call);
      if (call.kind === "chat") answered.add(call.model);
      if (run.budgeted) await noteAtOnce(context, calls);
    },
  });
}

/** Others who share the budget must know of it before their next call. Where that fails, the ending notes it. */
async function noteAtOnce({ pool, log }: Context, calls: CallLog): Promise<void> {
  await safely(log, "calls-noted", () => calls.noteNow(pool));
}

type Lending = Pick<Work, "run" | "pipeline"> & {
  readonly timer: Timer;
  readonly calls: CallLog;
  readonly answered: Set<string>;
};

type Work = {
  readonly run: ClaimedRun;
  readonly pipeline: Pipeline;
  readonly lent: Lent;
  /** The chat models that answered it. */
  readonly answered: ReadonlySet<string>;
};
type Tried = Pick<Ended, "entity" | "ending">;

async function tryRun(context: SharedContext, work: Work, stop: AbortController): Promise<Tried> {
  let entity: Entity | undefined;
  try {
    const subject = await readSubject(context, work);
    entity = subject.entity;
    if (entity === undefined) return { entity, ending: { kind: "cancelled", reason: gone } };
    return { entity, ending: await runGraph(context, { ...work, ...subject, entity }, stop) };
  } catch (error) {
    return { entity, ending: endingOf(error, stop.signal) };
  }
}

async function readSubject({ together, pool }: SharedContext, { run, pipeline }: Work): Promise<Subject> {
  const subject = await orUnavailable(() => together.subjects.do({ key: run, pipeline }));
  if (!isTried({ run, pipeline })) return subject;
  const of = { key: run, pipeline: pipeline.name, pipeline_version: pipeline.version };
  return { ...subject, stored: await orUnavailable(() => candidateStamp(pool, of)) };
}

async function runGraph(
  context: SharedContext,
  { run, pipeline, entity, stored, lent, answered }: Work & Subject & { readonly entity: Entity },
  stop: AbortController,
): Promise<GraphEnding> {
  const { pool, models } = context;
  const read = readerFor(pool, entity, pipeline.name);
  const stamp = await stampOf(pipeline, entity, read, models);
  if (stored && sameStamp(stored, stamp) && !run.force) return { kind: "duplicate", stamp };

  await noteStart(context, run, stamp);
  const saver = saverFor(context, { run, pipeline }, stampKey(stamp), stop);
  // Before the ending is committed: a checkpoint that waited behind that would hold up those beside it.
  using _ = { [Symbol.dispose]: () => saver.stop() };
  const result = await invokeGraph({
    pipeline,
    tools: { model: lent.model, embed: lent.embed, read },
    entity,
    thread_id: run.id,
    saver,
    stamp: stampKey(stamp),
    resumable: run.claimed_before,
    answers: {
      read: () => orUnavailable(() => answersTo(pool, run)),
      setAside: () => orUnavailable(() => setAnswersAside(pool, run)),
    },
    signal: stop.signal,
  });
  if (result.kind === "waiting") return result;
  return { ...result, stamp: await stampOfAnswer(pool, { run, pipeline, answered }, stamp) };
}

/**
 * Where a pipeline's first model did not answer all, earlier attempts included, the output bears the names of those that
 * did: it is stale for the first.
 */
async function stampOfAnswer(
  pool: Context["pool"],
  { run, pipeline, answered }: Omit<Work, "lent">,
  stamp: Stamp,
): Promise<Stamp> {
  const { models = [] } = pipeline;
  if (models.length < 2) return stamp;
  const before = run.claimed_before ? await orUnavailable(() => chatModelsOf(pool, run)) : [];
  const all = new Set([...answered, ...before]);
  const those = models.filter((model) => all.has(model));
  return those.length === 0 ? stamp : { ...stamp, model: those.join(", ") };
}

/** From here on the attempt counts. Throws LEASE_LOST. */
async function noteStart({ together }: SharedContext, run: ClaimedRun, stamp: Stamp): Promise<void> {
  const held = await orUnavailable(() => together.starts.do({ lease: run, stamp }));
  if (!held) throw leaseLost(run);
}

function saverFor(
  { checkpoints, log }: Context,
  { run, pipeline }: Pick<Work, "run" | "pipeline">,
  stamp: string,
  stop: AbortController,
): AttemptSaver {
  const { durability, history } = pipeline.checkpoints;
  return new AttemptSaver(checkpoints, run, {
    stamp,
    resumable: run.claimed_before,
    holds: durability === "async" && !history,
    onLost: () => stop.abort(new Stop("lease lost")),
    onRefused: (error) => log.error({ kind: kindOf(error) }, "checkpoint-refused"),
  });
}

import { z } from "zod";
import type { AttemptSaver } from "../../checkpoints/attempt-saver.ts";
import { LoregraphError } from "../errors.ts";
import { within } from "../pause.ts";
import type { Entity, Pipeline, Tools } from "../pipeline.ts";
import { checkedAnswer } from "./answer.ts";
import { Stop } from "./ending.ts";
import { explained, mostSteps } from "./explain.ts";

export type Invocation = {
  readonly pipeline: Pipeline;
  readonly tools: Tools;
  readonly entity: Entity;
  /** The run's id. */
  readonly thread_id: string;
  readonly saver: AttemptSaver;
  /** What the saver writes into its checkpoints. */
  readonly stamp: string;
  /** May there be checkpoints of an earlier attempt? A first attempt need not look. */
  readonly resumable: boolean;
  readonly signal: AbortSignal;
};

export type Result =
  | { readonly kind: "answered"; readonly answer: Record<string, unknown> }
  | { readonly kind: "waiting"; readonly question: unknown };

/**
 * Runs a pipeline's graph on an entity, with checkpoints.
 *
 * A later attempt goes on after the last finished step; one whose graph had already finished gets the same answer
 * without running it. Where the checkpoint was made by another stamp (pipeline version, model, prompts or input), it
 * is dropped and the graph starts over. The answer is checked against the promised schema, ANSWER_INVALID, and its
 * events against those that are announced, EVENT_UNKNOWN; a graph that loops without end is GRAPH_ENDLESS. Then its checkpoints go too.
 */
export async function invokeGraph(invocation: Invocation): Promise<Result> {
  try {
    return await resumeOrRun(invocation);
  } catch (cause) {
    const error = await explained(invocation, cause);
    if (isRefused(error)) await invocation.saver.deleteThread();
    else await saveFinished(invocation);
    throw error;
  }
}

/** The next attempt would only do the same. */
function isRefused(error: unknown): boolean {
  return (
    error instanceof LoregraphError &&
    ["ANSWER_INVALID", "EVENT_UNKNOWN", "GRAPH_ENDLESS"].includes(error.code)
  );
}

/** How long an attempt that was told to stop may take to save what it had finished, in milliseconds. */
const grace = 1_000;

/**
 * What was finished is saved for the next attempt. Where that fails, the attempt still ends as it would have: the next
 * one does more again. A lost lease ends it by itself.
 */
async function saveFinished({ saver, signal }: Invocation): Promise<void> {
  if (signal.reason instanceof Stop && signal.reason.why === "lease lost") return;
  const saved = Promise.allSettled([saver.flush()]);
  await (signal.aborted ? within(grace, saved) : saved);
}

async function resumeOrRun(invocation: Invocation): Promise<Result> {
  const { pipeline, tools, entity, thread_id, saver, signal } = invocation;
  const graph = pipeline.graph(tools).compile({ name: pipeline.name, checkpointer: saver });
  const saved = invocation.resumable ? await resumePoint(graph, invocation) : undefined;
  if (saved?.kind === "finished") return { kind: "answered", answer: checkedAnswer(pipeline, saved.values) };

  const config = {
    configurable: { thread_id },
    durability: pipeline.checkpoints.durability,
    recursionLimit: mostSteps,
    signal,
  };
  const values = await untilAborted(graph.invoke(saved ? null : entity, config), signal);
  const question = questionIn(values);
  if (question === undefined) return { kind: "answered", answer: checkedAnswer(pipeline, values) };
  await untilAborted(saver.flush(), signal);
  return { kind: "waiting", question: question.value };
}

type Compiled = ReturnType<ReturnType<Pipeline["graph"]>["compile"]>;
type ResumePoint = { readonly kind: "finished"; readonly values: unknown } | { readonly kind: "unfinished" };

async function resumePoint(
  graph: Compiled,
  { thread_id, stamp, saver }: Invocation,
): Promise<ResumePoint | undefined> {
  const state = await graph.getState({ configurable: { thread_id } });
  if (state.createdAt === undefined) return undefined;
  if (z.object({ stamp: z.string() }).safeParse(state.metadata).data?.stamp !== stamp) {
    await saver.deleteThread();
    return undefined;
  }
  // Not `next`: it leaves out the steps whose answers were saved, though no checkpoint holds these yet.
  return state.tasks.length === 0 ? { kind: "finished", values: state.values } : { kind: "unfinished" };
}

const Interrupted = z.object({ __interrupt__: z.array(z.object({ value: z.unknown() })).min(1) });

function questionIn(values: unknown): { value: unknown } | undefined {
  return Interrupted.safeParse(values).data?.__interrupt__[0];
}

/** Ends when the signal says so, even where the graph does not listen to it. */
async function untilAborted<Value>(work: Promise<Value>, signal: AbortSignal): Promise<Value> {
  const aborted = Promise.withResolvers<void>();
  const stop = () => aborted.resolve();
  if (signal.aborted) stop();
  signal.addEventListener("abort", stop, { once: true });
  try {
    await Promise.race([work, aborted.promise]);
    if (!signal.aborted) return await work;
    throw signal.reason;
  } finally {
    signal.removeEventListener("abort", stop);
    work.catch(() => {}); // a graph that was left behind may still fail; its attempt has ended
  }
}

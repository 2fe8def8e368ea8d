import { Command, isInvalidResume } from "@langchain/langgraph";
import { z } from "zod";
import type { AttemptSaver } from "../../checkpoints/attempt-saver.ts";
import { LoregraphError, messageOf } from "../errors.ts";
import type { NewQuestion } from "../ledger/questions.ts";
import { within } from "../pause.ts";
import type { Entity, Pipeline, Tools } from "../pipeline.ts";
import { checkedAnswer } from "./answer.ts";
import { Stop } from "./ending.ts";
import { explained, mostSteps } from "./explain.ts";
import { questionsIn } from "./questions.ts";

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
  /** What people answered, by the ids of the graph's questions. */
  readonly answers: {
    readonly read: () => Promise<ReadonlyMap<string, unknown>>;
    /** Notes that the graph starts over, so that none of them will be used. */
    readonly setAside: () => Promise<unknown>;
  };
  readonly signal: AbortSignal;
};

export type Result =
  | { readonly kind: "answered"; readonly answer: Record<string, unknown> }
  | { readonly kind: "waiting"; readonly questions: readonly NewQuestion[] };

/**
 * Runs a pipeline's graph on an entity, with checkpoints.
 *
 * A later attempt goes on after the last finished step; one whose graph had already finished gets the same answer
 * without running it; one whose graph asked a person gets what was answered, each answer where its question was asked,
 * however often that is tried. An answer that the graph refuses is no failure: it asks again. Where the checkpoint was
 * made by another stamp (pipeline version, model, prompts or input), it is dropped and the graph starts over, and asks
 * anew. The answer is checked against the promised schema, ANSWER_INVALID, and its events against those that are
 * announced, EVENT_UNKNOWN; a graph that loops without end is GRAPH_ENDLESS. Then its checkpoints go too.
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
  const { pipeline, tools, saver, signal } = invocation;
  const graph = pipeline.graph(tools).compile({ name: pipeline.name, checkpointer: saver });
  const saved = invocation.resumable ? await resumePoint(graph, invocation) : undefined;
  if (saved?.kind === "finished") return { kind: "answered", answer: checkedAnswer(pipeline, saved.values) };

  const { values, refused } = await untilAborted(runFrom(graph, invocation, saved), signal);
  const questions = questionsIn(values, pipeline, refused);
  if (questions === undefined) return { kind: "answered", answer: checkedAnswer(pipeline, values) };
  await untilAborted(saver.flush(), signal);
  return { kind: "waiting", questions };
}

type Ran = {
  readonly values: unknown;
  /** Why the graph refused what it was told, by the ids of the questions; empty where it did not. */
  readonly refused: ReadonlyMap<string, string>;
};

/** Runs the graph from the start, or from where it stopped. What it refuses to be told, it is not told, and asks again. */
async function runFrom(graph: Compiled, invocation: Invocation, saved: Unfinished | undefined): Promise<Ran> {
  if (saved === undefined)
    return { values: await graph.invoke(invocation.entity, configOf(invocation)), refused: new Map() };
  const told = await toldOf(saved, invocation);
  const resume = Object.fromEntries(told);
  const input = told.length > 0 ? new Command({ resume }) : null;
  try {
    return { values: await graph.invoke(input, configOf(invocation)), refused: new Map() };
  } catch (error) {
    if (!errorsOf(error).some(isInvalidResume)) throw error;
    const values = await graph.invoke(null, configOf(invocation));
    return { values, refused: new Map(told.map(([id]) => [id, messageOf(error)])) };
  }
}

/**
 * The answers to what the graph asks where it stopped. Those to what it asked before are not among them: it would take
 * one of them for that to its next question.
 */
async function toldOf(
  { asked }: Unfinished,
  { answers }: Invocation,
): Promise<readonly (readonly [string, unknown])[]> {
  if (asked.length === 0) return [];
  const known = await answers.read();
  return asked.flatMap((id) => (known.has(id) ? [[id, known.get(id)] as const] : []));
}

/** Several nodes that fail at once are one error. */
function errorsOf(error: unknown): readonly unknown[] {
  return error instanceof AggregateError ? error.errors : [error];
}

/** Made for each invocation: LangGraph notes in it what it is told. */
function configOf({ pipeline, thread_id, signal }: Invocation) {
  const { durability } = pipeline.checkpoints;
  return { configurable: { thread_id }, durability, recursionLimit: mostSteps, signal };
}

type Compiled = ReturnType<ReturnType<Pipeline["graph"]>["compile"]>;
type Unfinished = {
  readonly kind: "unfinished";
  /** The ids of what its graph asked, and stopped at. */
  readonly asked: readonly string[];
};
type ResumePoint = { readonly kind: "finished"; readonly values: unknown } | Unfinished;

async function resumePoint(graph: Compiled, invocation: Invocation): Promise<ResumePoint | undefined> {
  const { thread_id, stamp, saver, answers } = invocation;
  const state = await graph.getState({ configurable: { thread_id } });
  if (z.object({ stamp: z.string() }).safeParse(state.metadata).data?.stamp !== stamp) {
    await answers.setAside();
    if (state.createdAt !== undefined) await saver.deleteThread();
    return undefined;
  }
  // Not `next`: it leaves out the steps whose answers were saved, though no checkpoint holds these yet.
  if (state.tasks.length === 0) return { kind: "finished", values: state.values };
  const asked = state.tasks.flatMap(({ interrupts }) => interrupts.flatMap(({ id }) => id ?? []));
  return { kind: "unfinished", asked };
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

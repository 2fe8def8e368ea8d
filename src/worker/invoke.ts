import type { BaseCheckpointSaver } from "@langchain/langgraph";
import { z } from "zod";
import { LoregraphError } from "../errors.ts";
import type { Entity, Pipeline, Stamp, Tools } from "../pipeline.ts";

export type Invocation = {
  readonly pipeline: Pipeline;
  readonly tools: Tools;
  readonly entity: Entity;
  readonly stamp: Stamp;
  /** The run's id. */
  readonly thread_id: string;
  readonly saver: BaseCheckpointSaver;
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
 * is dropped and the graph starts over. The answer is checked against the promised schema: ANSWER_INVALID.
 */
export async function invokeGraph(invocation: Invocation): Promise<Result> {
  const { pipeline, tools, entity, saver, signal } = invocation;
  const graph = pipeline.graph(tools).compile({ name: pipeline.name, checkpointer: saver });
  const config = {
    configurable: { thread_id: invocation.thread_id },
    metadata: { stamp: stampKey(invocation.stamp) },
    durability: "async" as const,
    recursionLimit: 1_000,
    signal,
  };
  const saved = invocation.resumable ? await resumePoint(graph, invocation) : undefined;
  if (saved?.kind === "finished") return { kind: "answered", answer: checkedAnswer(pipeline, saved.values) };

  const values = await untilAborted(
    invokeNamingNode(graph.invoke(saved ? null : entity, config), pipeline),
    signal,
  );
  const question = questionIn(values);
  return question === undefined
    ? { kind: "answered", answer: checkedAnswer(pipeline, values) }
    : { kind: "waiting", question: question.value };
}

type Compiled = ReturnType<ReturnType<Pipeline["graph"]>["compile"]>;
type ResumePoint = { readonly kind: "finished"; readonly values: unknown } | { readonly kind: "unfinished" };

async function resumePoint(
  graph: Compiled,
  { thread_id, stamp, saver }: Invocation,
): Promise<ResumePoint | undefined> {
  const state = await graph.getState({ configurable: { thread_id } });
  if (state.createdAt === undefined) return undefined;
  if (z.object({ stamp: z.string() }).safeParse(state.metadata).data?.stamp !== stampKey(stamp)) {
    await saver.deleteThread(thread_id);
    return undefined;
  }
  return state.next.length === 0 ? { kind: "finished", values: state.values } : { kind: "unfinished" };
}

function stampKey({ pipeline_version, model, prompt_hash, input_hash }: Stamp): string {
  return [pipeline_version, model, prompt_hash, input_hash].join(" ");
}

/** LangGraph checks a node's input, not its answer: a bad answer surfaces as a bare zod error at the next node. */
async function invokeNamingNode(work: Promise<unknown>, pipeline: Pipeline): Promise<unknown> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof z.ZodError)
      throw answerInvalid(pipeline, "a node answered what the next one cannot read", error);
    throw error;
  }
}

function checkedAnswer(pipeline: Pipeline, values: unknown): Record<string, unknown> {
  const parsed = pipeline.output.safeParse(values);
  if (!parsed.success) throw answerInvalid(pipeline, "its answer is not what it promised", parsed.error);
  return { ...parsed.data };
}

function answerInvalid({ name }: Pipeline, what: string, cause: z.ZodError): LoregraphError {
  return new LoregraphError("ANSWER_INVALID", `${name}: ${what}:\n${z.prettifyError(cause)}`, { cause });
}

const Interrupted = z.object({ __interrupt__: z.array(z.object({ value: z.unknown() })).min(1) });

function questionIn(values: unknown): { value: unknown } | undefined {
  return Interrupted.safeParse(values).data?.__interrupt__[0];
}

/** Ends when the signal says so, even where the graph does not listen to it. */
async function untilAborted<Value>(work: Promise<Value>, signal: AbortSignal): Promise<Value> {
  const stopped = Promise.withResolvers<never>();
  const stop = () => stopped.reject(signal.reason);
  if (signal.aborted) stop();
  signal.addEventListener("abort", stop, { once: true });
  try {
    return await Promise.race([work, stopped.promise]);
  } finally {
    signal.removeEventListener("abort", stop);
    work.catch(() => {}); // a graph that was left behind may still fail; its attempt has ended
  }
}

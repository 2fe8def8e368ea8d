import { Command, MemorySaver } from "@langchain/langgraph";
import { z } from "zod";
import { LoregraphError } from "../errors.ts";
import type { Entity, Pipeline, Tools } from "../pipeline.ts";
import { checkedAnswer } from "../worker/answer.ts";
import { mostSteps } from "../worker/explain.ts";
import { watchBranches } from "./branches.ts";
import { type Course, graphError } from "./failure.ts";
import type { Step } from "./steps.ts";

export type Trial = {
  readonly pipeline: Pipeline;
  readonly tools: Tools;
  readonly entity: Entity;
  readonly signal: AbortSignal;
  /** The longest that it may take, in milliseconds. Defaults to the pipeline's timeout. */
  readonly timeout?: number | undefined;
  /** What a person answers to its questions, in their order. */
  readonly answers?: readonly unknown[] | undefined;
  /** Is told what happens, as it happens. */
  readonly onStep?: ((step: Step) => void) | undefined;
};

export type Tried =
  | { readonly kind: "answered"; readonly answer: Record<string, unknown> }
  | { readonly kind: "waiting"; readonly question: unknown };

/**
 * Runs a pipeline's graph once on an entity, and writes nothing anywhere: its checkpoints are in memory. The answer is
 * checked as a worker does. Throws ANSWER_INVALID, EVENT_UNKNOWN, GRAPH_ENDLESS, ATTEMPT_TIMEOUT, GRAPH_FAILED or a
 * model's error, which name the node, and the signal's reason where that fires.
 */
export async function tryGraph(trial: Trial): Promise<Tried> {
  const { pipeline, signal, timeout = pipeline.timeout } = trial;
  const late = AbortSignal.timeout(timeout);
  const course = new Watched(trial.onStep);
  try {
    return await untilAborted(answersOf(trial, course, AbortSignal.any([signal, late])), signal, late);
  } catch (error) {
    signal.throwIfAborted();
    if (late.aborted) throw timedOut(timeout, course);
    throw graphError(error, course);
  }
}

/** Ends when a signal says so, even where the graph does not listen to it. */
async function untilAborted<Value>(work: Promise<Value>, ...signals: readonly AbortSignal[]): Promise<Value> {
  const { promise, reject } = Promise.withResolvers<never>();
  const stop = ({ target }: Event) => reject((target as AbortSignal).reason);
  for (const signal of signals) {
    if (signal.aborted) reject(signal.reason);
    signal.addEventListener("abort", stop, { once: true });
  }
  try {
    return await Promise.race([work, promise]);
  } finally {
    for (const signal of signals) signal.removeEventListener("abort", stop);
    work.catch(() => {}); // a graph that was left behind may still fail
  }
}

function timedOut(ms: number, { running, nodes }: Course): LoregraphError {
  const at = running.length > 0 ? running : nodes.slice(-1);
  const where = [...new Set(at)].map((node) => `"${node}"`).join(", ") || "none";
  return new LoregraphError(
    "ATTEMPT_TIMEOUT",
    `the graph did not end within ${ms / 1_000} s; the node that ran was ${where}`,
  );
}

async function answersOf(trial: Trial, course: Watched, signal: AbortSignal): Promise<Tried> {
  const { pipeline, tools, entity, answers = [] } = trial;
  const graph = pipeline.graph(tools);
  watchBranches(graph, (step) => trial.onStep?.(step));
  const compiled = graph.compile({ name: pipeline.name, checkpointer: new MemorySaver() });
  const config = { configurable: { thread_id: "trial" }, recursionLimit: mostSteps, signal };
  const streamMode: ("tasks" | "values")[] = ["tasks", "values"];
  let input: Entity | Command = entity;
  for (const answer of [...answers, undefined]) {
    for await (const [kind, told] of await compiled.stream(input, { ...config, streamMode }))
      course.hear(kind, told);
    if (course.question === undefined) break;
    if (answer === undefined) return { kind: "waiting", question: course.question.value };
    input = new Command({ resume: answer });
  }
  return { kind: "answered", answer: checkedAnswer(pipeline, promised(pipeline, course.state)) };
}

/** The fields that the pipeline promised: a strict schema takes no others. */
function promised({ output }: Pipeline, state: Readonly<Record<string, unknown>>): unknown {
  const fields = Object.keys(output.shape);
  return Object.fromEntries(Object.entries(state).filter(([field]) => fields.includes(field)));
}

const Begun = z.object({
  id: z.string(),
  name: z.string(),
  input: z.unknown(),
  triggers: z.array(z.string()),
});
const Ended = z.object({
  id: z.string(),
  name: z.string(),
  result: z.record(z.string(), z.unknown()),
  interrupts: z.array(z.object({ value: z.unknown() })).catch([]),
  error: z.unknown(),
});
const Interrupted = z.object({ __interrupt__: z.array(z.object({ value: z.unknown() })).min(1) });
const State = z.record(z.string(), z.unknown());

/** Makes steps of what LangGraph streams, and remembers the course. */
class Watched implements Course {
  readonly nodes: string[] = [];
  readonly nodeOf = new Map<string, string>();
  readonly writerOf = new Map<string, string>();
  state: Readonly<Record<string, unknown>> = {};
  question: { readonly value: unknown } | undefined;
  readonly #begun = new Map<string, { readonly node: string; readonly at: number }>();
  readonly #tell: (step: Step) => void;

  constructor(tell: (step: Step) => void = () => {}) {
    this.#tell = tell;
  }

  get running(): readonly string[] {
    return [...this.#begun.values()].map(({ node }) => node);
  }

  hear(kind: unknown, told: unknown): void {
    const begun = Begun.safeParse(told);
    const ended = Ended.safeParse(told);
    if (kind === "values") this.#take(told);
    else if (begun.success) this.#begin(begun.data.id, begun.data.name);
    else if (ended.success) this.#end(ended.data);
  }

  #take(values: unknown): void {
    this.question = Interrupted.safeParse(values).data?.__interrupt__[0];
    if (this.question === undefined) this.state = State.parse(values);
  }

  #begin(task: string, node: string): void {
    this.nodes.push(node);
    this.nodeOf.set(task, node);
    this.#begun.set(task, { node, at: performance.now() });
    this.#tell({ kind: "node-started", task, node });
  }

  #end({ id: task, name: node, result, interrupts, error }: z.infer<typeof Ended>): void {
    const ms = performance.now() - (this.#begun.get(task)?.at ?? performance.now());
    const failed = error !== null && error !== undefined;
    const questions = interrupts.map(({ value }) => value);
    if (!failed) this.#begun.delete(task);
    for (const field of Object.keys(result)) this.writerOf.set(field, node);
    this.#tell({ kind: "node-ended", task, node, ms, wrote: result, before: this.state, questions, failed });
  }
}

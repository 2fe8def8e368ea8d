import type { Checkpoint } from "@langchain/langgraph-checkpoint";
import { z } from "zod";
import type { AttemptSaver } from "../../checkpoints/attempt-saver.ts";
import { LoregraphError, messageOf } from "../errors.ts";
import { within } from "../pause.ts";
import type { Pipeline, Tools } from "../pipeline.ts";
import { answerInvalid } from "./answer.ts";
import { Stop } from "./ending.ts";

/** The steps that a graph may take before it counts as endless. */
export const mostSteps = 1_000;

/** What looking may take before the failure is told without it, in milliseconds; less where the attempt is to stop. */
const patience = { stopped: 1_000, failed: 10_000 };

type Failed = {
  readonly pipeline: Pipeline;
  readonly tools: Tools;
  readonly thread_id: string;
  readonly saver: AttemptSaver;
  readonly signal: AbortSignal;
};

/**
 * A graph's failure, told so that whoever wrote the graph knows where to look: the node that answered wrongly, those
 * that loop, the one that did not end. It is found in the checkpoint afterwards, so that runs which succeed pay nothing.
 */
export async function explained(failed: Failed, error: unknown): Promise<unknown> {
  const { pipeline, signal } = failed;
  if (signal.aborted) return isTimeOut(signal.reason) ? await timedOut(failed) : error;
  if (isRecursionError(error)) return endless(pipeline, (await newestTuple(failed))?.checkpoint, error);
  if (isMisuse(error))
    return new LoregraphError("ANSWER_INVALID", `${pipeline.name}: ${messageOf(error).split("\n")[0]}`, {
      cause: error,
    });
  const shape = shapeErrorIn(error);
  if (!shape) return error;
  if (error !== shape)
    return answerInvalid(
      pipeline,
      `its answer is not what it promised${await unwritten(failed, shape)}`,
      shape,
    );
  return answerInvalid(pipeline, await misshapenAt(failed, error), shape);
}

function isTimeOut(reason: unknown): boolean {
  return reason instanceof Stop && reason.why === "timed out";
}

/** LangGraph's own errors are known by their code, whichever copy of it threw them. */
const Coded = z.object({ lc_error_code: z.string() });
const codeOf = (error: unknown) =>
  error instanceof Error ? Coded.safeParse(error).data?.lc_error_code : undefined;
const isRecursionError = (error: unknown) => codeOf(error) === "GRAPH_RECURSION_LIMIT";
/** A node answered no object, or two nodes wrote one field at once. */
const isMisuse = (error: unknown) =>
  ["INVALID_GRAPH_NODE_RETURN_VALUE", "INVALID_CONCURRENT_GRAPH_UPDATE"].includes(codeOf(error) ?? "");

function shapeErrorIn(error: unknown): z.core.$ZodError | undefined {
  if (error instanceof z.core.$ZodError) return error;
  const isOurs = error instanceof LoregraphError && error.code === "ANSWER_INVALID";
  return isOurs && error.cause instanceof z.core.$ZodError ? error.cause : undefined;
}

async function timedOut(failed: Failed): Promise<LoregraphError> {
  const running = quoted([...new Set((await newestState(failed))?.next)]);
  const where = running ? `: ${running} had not ended` : "";
  const message = `the graph did not end within its pipeline's timeout of ${failed.pipeline.timeout / 1_000} s${where}`;
  return new LoregraphError("ATTEMPT_TIMEOUT", message);
}

function endless({ name }: Pipeline, checkpoint: Checkpoint | undefined, cause: unknown): LoregraphError {
  const nodes = checkpoint ? looping(checkpoint) : [];
  const which = nodes.length > 0 ? `: ${quoted(nodes)} ran again and again` : "";
  return new LoregraphError(
    "GRAPH_ENDLESS",
    `${name}: its graph took ${mostSteps} steps and did not end${which}`,
    { cause },
  );
}

/** The nodes that ran in the second half of so many steps: what ran before the loop began is left out. */
function looping(checkpoint: Checkpoint): readonly string[] {
  const runs = lastRuns(checkpoint);
  const newest = Math.max(...runs.values());
  return [...runs]
    .filter(([, last]) => last > newest / 2)
    .map(([node]) => node)
    .toSorted();
}

/** LangGraph checks what a node answers and what it is given, by bare zod errors that bear the task's id. */
async function misshapenAt(failed: Failed, error: unknown): Promise<string> {
  const { pregelTaskId } = Tasked.parse(error);
  const state = await newestState(failed);
  const node = state?.tasks.find(({ id }) => id === pregelTaskId)?.name;
  return node
    ? `the node "${node}" answered, or was given, what has another shape`
    : "a node answered what has another shape";
}

const Tasked = z.object({ pregelTaskId: z.string().optional() });

/** Which of the fields that are wrong no node wrote. */
async function unwritten(failed: Failed, shape: z.core.$ZodError): Promise<string> {
  const written = (await newestTuple(failed))?.checkpoint.channel_versions;
  const missing = written ? fieldsOf(failed.pipeline, shape).filter((field) => !(field in written)) : [];
  return missing.length > 0 ? ` (no node wrote ${missing.join(", ")})` : "";
}

/** The fields that are wrong: of no answer at all, those that it must have. */
function fieldsOf({ output }: Pipeline, { issues }: z.core.$ZodError): readonly string[] {
  const wrong = issues.some(({ path }) => path.length === 0)
    ? (output.safeParse({}).error?.issues ?? [])
    : issues;
  return [...new Set(wrong.flatMap(({ path: [field] }) => (field === undefined ? [] : [String(field)])))];
}

/** The version of what started each node's last run. */
function lastRuns({ versions_seen }: Checkpoint): ReadonlyMap<string, number> {
  const nodes = Object.entries(versions_seen).filter(([node]) => !node.startsWith("__"));
  return new Map(nodes.map(([node, seen]) => [node, Math.max(0, ...Object.values(seen).map(numberOf))]));
}

/** A version is a number, or a text that begins with one. */
function numberOf(version: number | string): number {
  return Number.parseInt(String(version), 10);
}

function quoted(nodes: readonly string[]): string {
  return nodes.map((node) => `"${node}"`).join(", ");
}

async function newestTuple({ saver, thread_id, signal }: Failed) {
  return await orNothing(signal, saver.getTuple({ configurable: { thread_id } }));
}

async function newestState({ pipeline, tools, saver, thread_id, signal }: Failed) {
  const graph = pipeline.graph(tools).compile({ checkpointer: saver });
  return await orNothing(signal, graph.getState({ configurable: { thread_id } }));
}

/** What cannot be found in time, or at all, is left out. */
async function orNothing<Value>({ aborted }: AbortSignal, work: Promise<Value>): Promise<Value | undefined> {
  const found = work.catch(() => undefined);
  let value: Value | undefined;
  await within(
    aborted ? patience.stopped : patience.failed,
    found.then((it) => {
      value = it;
    }),
  );
  return value;
}

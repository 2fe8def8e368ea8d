import { GraphRecursionError } from "@langchain/langgraph";
import { z } from "zod";
import { LoregraphError, loregraphError, messageOf } from "../errors.ts";
import { classifyModelError } from "../models/errors.ts";

/** What is known of a graph's course when it failed. */
export type Course = {
  /** The nodes that have begun, in order. */
  readonly nodes: readonly string[];
  /** The node of each task, by its id. */
  readonly nodeOf: ReadonlyMap<string, string>;
  /** The node that wrote each field of the state last. */
  readonly writerOf: ReadonlyMap<string, string>;
  /** The nodes that had not ended. */
  readonly running: readonly string[];
};

/** The error that says which node failed and what to do about it, for whatever a graph's run threw. */
export function graphError(error: unknown, course: Course): LoregraphError {
  const node = nodeOf(error, course);
  if (error instanceof GraphRecursionError) return endless(course);
  if (error instanceof z.core.$ZodError) return misshapen(error, node, course);
  const known = loregraphError(error) ?? classifyModelError(error);
  if (known) return named(known.code, known.message, node, error, known.after);
  return named("GRAPH_FAILED", messageOf(error).split("\n")[0] ?? "", node, error);
}

/** LangGraph writes the id of the failed task onto what it threw. */
function nodeOf(error: unknown, { nodeOf, running }: Course): string | undefined {
  const task = z.object({ pregelTaskId: z.string() }).safeParse(error).data?.pregelTaskId;
  return (task === undefined ? undefined : nodeOf.get(task)) ?? running[0];
}

function named(
  code: LoregraphError["code"],
  message: string,
  node: string | undefined,
  cause: unknown,
  after?: Date,
): LoregraphError {
  // A tape that lacks an answer has named the node itself.
  const where = node === undefined || message.startsWith(`node "${node}" `) ? "" : `node "${node}": `;
  return new LoregraphError(code, where + message, { cause, ...(after && { after }) });
}

/** How many of the last nodes show the circle that a graph goes in. */
const shown = 8;

function endless({ nodes }: Course): LoregraphError {
  const last = nodes.slice(-shown).join(" → ");
  return new LoregraphError(
    "GRAPH_ENDLESS",
    `the graph did not end; its last nodes were ${last}: give one of them a conditional edge that leads to END`,
  );
}

/** LangGraph checks a node's answer when the state is read the next time: then another node wrote it. */
function misshapen(error: z.core.$ZodError, node: string | undefined, { writerOf }: Course): LoregraphError {
  const field = String(error.issues[0]?.path[0] ?? "");
  const writer = writerOf.get(field);
  const why =
    writer === undefined || writer === node
      ? `node "${node}" answered what the state does not take`
      : `node "${writer}" wrote what node "${node}" cannot read`;
  return new LoregraphError("ANSWER_INVALID", `${why}:\n${z.prettifyError(error)}`, { cause: error });
}

import { LoregraphError, loregraphError, messageOf } from "../errors.ts";
import type { Models } from "../models/models.ts";
import { pause } from "../pause.ts";
import type { Measure, Pipeline, Tools, Usage } from "../pipeline.ts";
import { tryGraph } from "../try/run.ts";
import type { Example } from "./examples.ts";
import { judge } from "./judge.ts";
import { libraryOf } from "./library.ts";
import { type Score, scoreOf } from "./score.ts";

/** What became of one example. */
export type Case = {
  readonly name: string;
  readonly expected: Example["expected"];
  readonly answer: Readonly<Record<string, unknown>> | null;
  /** By field. All are 0 where there is no answer. */
  readonly scores: Readonly<Record<string, Score>>;
  readonly error: { readonly code: string; readonly message: string } | null;
  readonly ms: number;
  readonly tokens_in: number;
  readonly tokens_out: number;
  readonly cost_usd: number;
};

export type Examined = {
  readonly pipeline: Pipeline;
  readonly models: Models;
  /** The judge of each field that has one. */
  readonly judges: Readonly<Record<string, NonNullable<Tools["model"]>>>;
  readonly measures: Readonly<Record<string, Measure>>;
  readonly signal: AbortSignal;
};

/** Runs one example and scores its answer. A graph that fails is a wrong answer; only an abort and a gap in a tape throw. */
export async function examine(example: Example, examined: Examined): Promise<Case> {
  const began = performance.now();
  const lent = examined.models.lend({ known: async () => new Map() });
  const tools = { model: lent.model, embed: lent.embed, read: libraryOf(example) };
  const { name, expected } = example;
  try {
    const answer = await insisting(() => answerTo(example, tools, examined), examined.signal);
    const scores = await scored(example, answer, examined);
    return { name, expected, answer, scores, error: null, ...spent(began, lent.usage()) };
  } catch (error) {
    if (loregraphError(error)?.code === "TAPE_INCOMPLETE") throw error;
    const failed = failureOf(error, examined.signal);
    const scores = Object.fromEntries(Object.keys(expected).map((field) => [field, { score: 0 }]));
    return { name, expected, answer: null, scores, error: failed, ...spent(began, lent.usage()) };
  }
}

function spent(began: number, { tokens_in, tokens_out, cost_usd }: Usage) {
  return { ms: Math.round(performance.now() - began), tokens_in, tokens_out, cost_usd };
}

async function answerTo(example: Example, tools: Tools, { pipeline, signal }: Examined) {
  const { input: entity, answers } = example;
  const tried = await tryGraph({ pipeline, tools, entity, answers, signal });
  if (tried.kind === "answered") return tried.answer;
  throw new LoregraphError(
    "GRAPH_FAILED",
    `the graph asks a person ${JSON.stringify(tried.question)}: give the example its \`answers\``,
  );
}

/** How often what may pass is tried. */
const mostAttempts = 3;

/** A provider that is busy or away for a moment says nothing about the graph. */
async function insisting<Result>(work: () => Promise<Result>, signal: AbortSignal): Promise<Result> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      const known = loregraphError(error);
      if (attempt === mostAttempts || !known || !passing.includes(known.code)) throw error;
      await pause(known.after ? Math.max(0, known.after.getTime() - Date.now()) : 1_000 * attempt, signal);
      signal.throwIfAborted();
    }
  }
}

const passing = ["RATE_LIMITED", "MODEL_UNAVAILABLE", "MODEL_UNREACHABLE"];

async function scored(
  { input, expected }: Example,
  answer: Readonly<Record<string, unknown>>,
  { measures, judges, signal }: Examined,
): Promise<Case["scores"]> {
  const scores: Record<string, Score> = {};
  for (const [field, value] of Object.entries(expected)) {
    const measure = measures[field] ?? { kind: "partial" };
    const given = answer[field];
    const model = judges[field];
    if (measure.kind !== "judge") scores[field] = scoreOf(measure, value, given);
    else if (model)
      scores[field] = await insisting(
        () => judge(model, measure, { text: input.text, field, expected: value, given }, signal),
        signal,
      );
  }
  return scores;
}

function failureOf(error: unknown, signal: AbortSignal): Case["error"] {
  signal.throwIfAborted();
  const known = loregraphError(error);
  return { code: known?.code ?? "GRAPH_FAILED", message: known?.message ?? messageOf(error) };
}

import pLimit from "p-limit";
import { LoregraphError } from "../errors.ts";
import type { Models } from "../models/models.ts";
import type { Measure, Pipeline, Tools } from "../pipeline.ts";
import { makerOf } from "../store/stamps.ts";
import { type Case, examine } from "./case.ts";
import { dataHash, type Example } from "./examples.ts";
import { type FieldScore, fieldScores } from "./fields.ts";
import { measureOf } from "./measures.ts";

/** How well a pipeline answered some examples, and what made those answers. */
export type Evaluation = {
  readonly pipeline: string;
  readonly pipeline_version: number;
  readonly model: string;
  readonly prompt_hash: string;
  /** Of the code of the graph's folder; empty where it is not known. */
  readonly fingerprint: string;
  /** The examples' file, and a hash of what they are. */
  readonly data: string;
  readonly data_hash: string;
  readonly measures: Readonly<Record<string, Measure>>;
  readonly fields: readonly FieldScore[];
  /** How many of the cases ended without an answer; they count as wrong. */
  readonly failed: number;
  /** How many lines of the file were left out. */
  readonly rejected: number;
  readonly ms: number;
  readonly tokens_in: number;
  readonly tokens_out: number;
  readonly cost_usd: number;
  readonly cases: readonly Case[];
};

export type Evaluating = {
  readonly pipeline: Pipeline;
  readonly models: Models;
  /** The models that judge, by the name of each; `undefined` stands for the configured one. */
  readonly judgeBy: (model: string | undefined) => Tools["model"];
  readonly examples: readonly Example[];
  readonly rejected: number;
  readonly data: string;
  /** Examples that are under way together. */
  readonly atOnce: number;
  readonly signal: AbortSignal;
  readonly onProgress?: (done: number, total: number) => void;
};

/** Runs the examples, a few at a time, and scores what they expect. Throws MODEL_REQUIRED, and where it is aborted. */
export async function evaluate(evaluating: Evaluating): Promise<Evaluation> {
  const { pipeline, models, examples, rejected, data } = evaluating;
  const maker = makerOf(pipeline, models);
  const began = performance.now();
  const measures = measuresOf(pipeline, examples);
  const cases = await examineAll(evaluating, measures);
  return {
    pipeline: pipeline.name,
    ...maker,
    data,
    data_hash: dataHash(examples),
    measures,
    fields: fieldScores(measures, cases),
    failed: cases.filter(({ error }) => error !== null).length,
    rejected,
    ms: Math.round(performance.now() - began),
    tokens_in: sum(cases, "tokens_in"),
    tokens_out: sum(cases, "tokens_out"),
    cost_usd: sum(cases, "cost_usd"),
    cases,
  };
}

function measuresOf(pipeline: Pipeline, examples: readonly Example[]): Readonly<Record<string, Measure>> {
  const fields = new Set(examples.flatMap(({ expected }) => Object.keys(expected)));
  return Object.fromEntries([...fields].map((field) => [field, measureOf(pipeline, field)]));
}

async function examineAll(
  { pipeline, models, judgeBy, examples, atOnce, signal, onProgress }: Evaluating,
  measures: Readonly<Record<string, Measure>>,
): Promise<readonly Case[]> {
  const few = pLimit(atOnce);
  const judges = judgesOf(measures, judgeBy);
  const stop = new AbortController();
  const both = AbortSignal.any([signal, stop.signal]);
  let done = 0;
  const all = examples.map((example) =>
    few(async () => {
      both.throwIfAborted();
      const result = await examine(example, { pipeline, models, judges, measures, signal: both });
      onProgress?.(++done, examples.length);
      return result;
    }),
  );
  try {
    return await Promise.all(all);
  } catch (error) {
    stop.abort(error);
    await Promise.allSettled(all);
    throw error;
  }
}

function judgesOf(measures: Readonly<Record<string, Measure>>, judgeBy: Evaluating["judgeBy"]) {
  const judges: Record<string, NonNullable<Tools["model"]>> = {};
  for (const [field, measure] of Object.entries(measures)) {
    if (measure.kind !== "judge") continue;
    const model = judgeBy(measure.model);
    if (!model)
      throw new LoregraphError(
        "MODEL_REQUIRED",
        `${field} is measured by a judge, and no chat model is configured`,
      );
    judges[field] = model;
  }
  return judges;
}

function sum(cases: readonly Case[], field: "tokens_in" | "tokens_out" | "cost_usd"): number {
  return cases.reduce((total, one) => total + one[field], 0);
}

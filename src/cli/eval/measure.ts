import type { Config } from "../../config.ts";
import { type Evaluation, evaluate } from "../../eval/evaluate.ts";
import type { Examples } from "../../eval/examples.ts";
import type { Pipeline } from "../../pipeline.ts";
import { progressOf } from "../progress.ts";
import { type Asked, openAskedModels, tellOfRules } from "../tape.ts";

export type Measuring = Asked & {
  readonly pipeline: Pipeline;
  readonly atOnce: number;
  readonly limit?: number | undefined;
  readonly file: string;
  readonly read: Examples;
  readonly signal: AbortSignal;
};

/** Runs the examples with the models that are asked for, and tells how far it is. */
export async function measure(config: Config, measuring: Measuring): Promise<Evaluation> {
  const { pipeline, atOnce, limit, file, read, signal } = measuring;
  const taped = await openAskedModels(config, measuring);
  const progress = progressOf(`evaluating ${pipeline.name}`);
  try {
    const models = taped.open();
    tellOfRules(pipeline, models);
    return await evaluate({
      pipeline,
      models,
      // A judge that is asked again should say the same.
      judgeBy: (judge) => taped.open(judge, 0).lend({ known: async () => new Map() }).model,
      examples: read.examples.slice(0, limit),
      rejected: read.rejected.length,
      data: file,
      atOnce,
      signal,
      onProgress: progress.update,
    });
  } finally {
    progress.end();
    await taped.close();
  }
}

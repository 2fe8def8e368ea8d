import { join } from "node:path";
import { type Config, readConfig } from "../../config.ts";
import { LoregraphError } from "../../errors.ts";
import { type Evaluation, evaluate } from "../../eval/evaluate.ts";
import { type Examples, readExamples } from "../../eval/examples.ts";
import { openModels } from "../../models/models.ts";
import type { Pipeline } from "../../pipeline.ts";
import { folderOf, loadRegistry } from "../../registry.ts";
import { evaluationText } from "../eval/text.ts";
import { readThresholds, type Threshold, unmet } from "../eval/threshold.ts";
import { exitCodes } from "../exit-codes.ts";
import { print } from "../output.ts";
import { newCommand, unknownPipeline, wholeNumber } from "../program.ts";
import { progressOf } from "../progress.ts";
import { heedSignals } from "../signals.ts";

export const command = () =>
  newCommand(
    "eval",
    "run a pipeline's examples and score its answers",
    "loregraph eval dialog-mood --threshold mood=0.7",
  )
    .argument("<pipeline>", "its name in langgraph.json")
    .option("--data <file>", "the examples; defaults to examples.jsonl in the pipeline's folder")
    .option("--texts <folder>", "the books that examples refer to by place")
    .option("--model <name>", "the chat model, in place of the configured one")
    .option("--version <n>", "the pipeline's version that must be loaded", wholeNumber("--version", 1))
    .option("--at-once <n>", "examples that are under way together", wholeNumber("--at-once", 1), 4)
    .option("--limit <n>", "only so many examples, the first ones", wholeNumber("--limit", 1))
    .option(
      "--threshold <score>",
      "end with 1 where a field scores less; 0.8, or mood=0.7 for one field; may be repeated",
      (written: string, before: readonly Threshold[]) => [...before, ...readThresholds(written)],
      [] as readonly Threshold[],
    )
    .action(async (name, options) => {
      const config = readConfig();
      const pipeline = await thePipeline(name, options.version, config);
      const file = options.data ?? join(folderOf(name, config.graphs), "examples.jsonl");
      const read = await readExamples(file, { pipeline, texts: options.texts });
      tellRejected(file, read);
      const evaluation = await run(config, pipeline, { ...options, file, read });
      print(evaluation, options.json, evaluationText);
      process.exitCode = exitCodeOf(evaluation, options.threshold);
    });

async function thePipeline(name: string, version: number | undefined, { graphs }: Config): Promise<Pipeline> {
  const registry = await loadRegistry(graphs);
  const pipeline = registry.get(name);
  if (!pipeline) throw unknownPipeline(name, registry.keys());
  if (version === undefined || pipeline.version === version) return pipeline;
  throw new LoregraphError(
    "INPUT_INVALID",
    `expected a version of ${name} that is loaded (${pipeline.version}), got: ${version}`,
  );
}

function tellRejected(file: string, { rejected }: Examples): void {
  for (const { line, reason } of rejected) process.stderr.write(`${file}:${line}: rejected: ${reason}\n`);
}

type Options = {
  readonly model?: string | undefined;
  readonly atOnce: number;
  readonly limit?: number | undefined;
  readonly file: string;
  readonly read: Examples;
};

async function run(config: Config, pipeline: Pipeline, options: Options): Promise<Evaluation> {
  const { model, atOnce, limit, file, read } = options;
  const open = (chatModel = config.models.chatModel) => openModels({ ...config.models, chatModel });
  const models = open(model);
  if (model !== undefined && models.local)
    throw new LoregraphError(
      "CONFIG_INVALID",
      "--model names a chat model, but there is no model server: set OPENAI_API_KEY or OPENAI_BASE_URL",
    );
  if (models.local) process.stderr.write(`no model is configured: by the local rules, ${pipeline.local}\n`);
  const progress = progressOf(`evaluating ${pipeline.name}`);
  const { signal, forget } = heedSignals();
  try {
    return await evaluate({
      pipeline,
      models,
      judgeBy: (judge) => open(judge).lend({ known: async () => new Map() }).model,
      examples: read.examples.slice(0, limit),
      rejected: read.rejected.length,
      data: file,
      atOnce,
      signal,
      onProgress: progress.update,
    });
  } finally {
    progress.end();
    forget();
  }
}

function exitCodeOf(evaluation: Evaluation, thresholds: readonly Threshold[]): number {
  const below = unmet(evaluation, thresholds);
  for (const line of below) process.stderr.write(`${line}\n`);
  if (below.length > 0) return exitCodes.failed;
  return evaluation.failed + evaluation.rejected > 0 ? exitCodes.inPart : exitCodes.ok;
}

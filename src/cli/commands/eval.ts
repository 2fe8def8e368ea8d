import { join } from "node:path";
import { Option } from "@commander-js/extra-typings";
import { type Config, readConfig } from "../../config.ts";
import type { Db } from "../../db.ts";
import { LoregraphError } from "../../errors.ts";
import { type Comparable, compare } from "../../eval/compare.ts";
import type { Evaluation } from "../../eval/evaluate.ts";
import { type Examples, readExamples } from "../../eval/examples.ts";
import {
  type EvaluationSummary,
  listEvaluations,
  readEvaluation,
  type StoredEvaluation,
  storeEvaluation,
} from "../../eval/store.ts";
import { folderOf } from "../../registry.ts";
import { comparisonText } from "../eval/comparison.ts";
import { measure } from "../eval/measure.ts";
import { evaluationText } from "../eval/text.ts";
import { assertMeasured, readThresholds, type Threshold, unmet } from "../eval/threshold.ts";
import { exitCodes } from "../exit-codes.ts";
import { loadedPipeline } from "../loaded.ts";
import { ago, print, table } from "../output.ts";
import { newCommand, uuid, wholeNumber } from "../program.ts";
import { type Session, withSession } from "../session.ts";
import { heedSignals } from "../signals.ts";
import { recordOption, replayOption } from "../tape.ts";

export const command = () =>
  newCommand(
    "eval",
    "run a pipeline's examples and score its answers; list, show or compare what was scored",
    "loregraph eval dialog-mood --threshold mood=0.7 --compare last",
  )
    .enablePositionalOptions()
    .argument("<pipeline>", "its name in langgraph.json")
    .option("--data <file>", "the examples; defaults to examples.jsonl in the pipeline's folder")
    .option("--texts <folder>", "the books that examples refer to by place")
    .option("--model <name>", "the chat model, in place of the configured one")
    .option("--version <n>", "another version of the pipeline that is loaded", wholeNumber("--version", 1))
    .option("--at-once <n>", "examples that are under way together", wholeNumber("--at-once", 1), 4)
    .option("--limit <n>", "only so many examples, the first ones", wholeNumber("--limit", 1))
    .option(
      "--threshold <score>",
      "end with 1 where a field scores less; 0.8, or mood=0.7 for one field; may be repeated",
      (written: string, before: readonly Threshold[]) => [...before, ...readThresholds(written)],
      [] as readonly Threshold[],
    )
    .option(
      "--compare <ids...>",
      "compare with a stored evaluation, `last` for the newest; of two ids, these two, and nothing is run",
    )
    .addOption(recordOption())
    .addOption(replayOption())
    .addOption(new Option("--no-store", "keep no result; needs no database"))
    .action(async (name, { compare: ids = [], ...options }) => {
      const config = readConfig();
      if (ids.length > 2)
        throw new LoregraphError("INPUT_INVALID", "expected --compare to name two ids at most");
      if (ids.length === 2)
        return await withSession(({ pool }) => compareStored(pool, name, ids, options.json));
      const pipeline = await loadedPipeline(name, options.version, config);
      const file = options.data ?? join(folderOf(name, config.graphs), "examples.jsonl");
      const read = await readExamples(file, { pipeline, texts: options.texts });
      tellRejected(file, read);
      assertMeasured(options.threshold, read.examples.slice(0, options.limit));
      const asked = { ...options, pipeline, file, read, against: ids[0] };
      if (options.store || asked.against !== undefined)
        await withSession((session) => run(config, asked, session));
      else await run(config, asked);
    })
    .addCommand(list())
    .addCommand(show());

type Asked = Omit<Parameters<typeof measure>[1], "signal"> & {
  readonly store: boolean;
  readonly against: string | undefined;
  readonly threshold: readonly Threshold[];
  readonly json?: boolean | undefined;
};

async function run(config: Config, asked: Asked, session?: Session): Promise<void> {
  const before =
    session && asked.against ? await stored(session.pool, asked.against, asked.pipeline.name) : undefined;
  const { signal, forget } = session ? { signal: session.signal, forget: () => {} } : heedSignals();
  try {
    const evaluation = await measure(config, { ...asked, signal });
    const kept = session && asked.store ? await storeEvaluation(session.pool, evaluation) : { id: null };
    tell({ ...kept, ...evaluation }, before, asked.json);
    process.exitCode = exitCodeOf(evaluation, asked.threshold);
  } finally {
    forget();
  }
}

function tell(
  evaluation: Evaluation & { readonly id: string | null },
  before: StoredEvaluation | undefined,
  json: boolean | undefined,
): void {
  const comparison = before && compare(before, evaluation);
  const answer = { ...evaluation, ...(before && { compared_with: before.id, comparison }) };
  print(answer, json, () =>
    [
      evaluationText(evaluation),
      ...(evaluation.id ? [`stored as ${evaluation.id}`] : []),
      ...(before && comparison
        ? ["", `against ${before.id}, ${ago(before.created_at)} ago`, comparisonText(comparison)]
        : []),
    ].join("\n"),
  );
}

async function compareStored(
  db: Db,
  pipeline: string,
  [first = "", second = ""]: readonly string[],
  json: boolean | undefined,
): Promise<void> {
  const before: Comparable & { readonly id: string } = await stored(db, first, pipeline);
  const after = await stored(db, second, pipeline);
  const comparison = compare(before, after);
  print({ before: before.id, after: after.id, ...comparison }, json, () => comparisonText(comparison));
}

/** A stored evaluation by its id, or the pipeline's newest for `last`. Throws NOT_FOUND. */
async function stored(db: Db, id: string, pipeline: string): Promise<StoredEvaluation> {
  const [newest] = id === "last" ? await listEvaluations(db, { pipeline, limit: 1 }) : [];
  const found = await readEvaluation(db, newest?.id ?? uuid("--compare")(id === "last" ? nil : id));
  if (found) return found;
  throw new LoregraphError(
    "NOT_FOUND",
    id === "last" ? `nothing of ${pipeline} was evaluated before` : `there is no evaluation ${id}`,
  );
}

/** No evaluation has it. */
const nil = "00000000-0000-0000-0000-000000000000";

function tellRejected(file: string, { rejected }: Examples): void {
  for (const { line, reason } of rejected) process.stderr.write(`${file}:${line}: rejected: ${reason}\n`);
}

function exitCodeOf(evaluation: Evaluation, thresholds: readonly Threshold[]): number {
  const below = unmet(evaluation, thresholds);
  for (const line of below) process.stderr.write(`${line}\n`);
  if (below.length > 0) return exitCodes.failed;
  return evaluation.failed + evaluation.rejected > 0 ? exitCodes.inPart : exitCodes.ok;
}

const list = () =>
  newCommand("list", "list stored evaluations, newest first", "loregraph eval list --pipeline dialog-mood")
    .option("--pipeline <name>", "only of this pipeline")
    .option("--limit <n>", "the most evaluations", wholeNumber("--limit", 1), 20)
    .action(async ({ pipeline, limit, json }) => {
      await withSession(async ({ pool }) =>
        print(await listEvaluations(pool, { pipeline, limit }), json, listText),
      );
    });

function listText(evaluations: readonly EvaluationSummary[]): string {
  if (evaluations.length === 0) return "nothing was evaluated yet";
  return table(
    ["evaluation", "pipeline", "model", "age", "scores"],
    evaluations.map(({ id, pipeline, pipeline_version, model, created_at, fields }) => [
      id,
      `${pipeline} v${pipeline_version}`,
      model,
      ago(created_at),
      fields.map(({ field, mean }) => `${field} ${mean.toFixed(2)}`).join(", "),
    ]),
  );
}

const show = () =>
  newCommand("show", "show a stored evaluation", "loregraph eval show 01a1f3c2-7b7e-7c11-9d0a-5f4e2b6a8c31")
    .argument("<evaluation>", "its id", uuid("the evaluation's id"))
    .action(async (id, { json }) => {
      await withSession(async ({ pool }) => print(await stored(pool, id, ""), json, evaluationText));
    });

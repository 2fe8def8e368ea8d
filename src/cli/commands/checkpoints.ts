import type { Keeping } from "../../../checkpoints/retention.ts";
import {
  largestRuns,
  type PipelineUsage,
  type RunUsage,
  usageByPipeline,
} from "../../../checkpoints/usage.ts";
import { loadRegistry } from "../../registry.ts";
import { bytes, print, table } from "../output.ts";
import { newCommand, wholeNumber } from "../program.ts";
import { assertRegistered } from "../registered.ts";
import { withSession } from "../session.ts";

type Answer = { readonly pipelines: readonly PipelineUsage[]; readonly runs: readonly RunUsage[] };

export const command = () =>
  newCommand(
    "checkpoints",
    "show what checkpoints take up, and what will be freed",
    "loregraph checkpoints --pipeline dialog-mood --runs 20",
  )
    .option("--pipeline <name>", "only of this pipeline")
    .option("--runs <n>", "the most runs to list, the largest first", wholeNumber("--runs", 0), 10)
    .action(async ({ pipeline, runs, json }) => {
      await withSession(async ({ pool, config }) => {
        const keeping = await keepingOf(config.graphs);
        const [all, largest] = await Promise.all([
          usageByPipeline(pool, keeping),
          runs === 0 ? [] : largestRuns(pool, keeping, { limit: runs, pipeline }),
        ]);
        const pipelines = all.filter((usage) => pipeline === undefined || usage.pipeline === pipeline);
        if (pipelines.length === 0 && pipeline !== undefined) await assertRegistered(pipeline, config.graphs);
        print<Answer>({ pipelines, runs: largest }, json, asText);
      });
    });

async function keepingOf(graphs: string | undefined): Promise<readonly Keeping[]> {
  const registry = await loadRegistry(graphs);
  return [...registry.values()].map(({ name, checkpoints: { keepHours } }) => ({ name, keepHours }));
}

function asText({ pipelines, runs }: Answer): string {
  if (pipelines.length === 0) return "no checkpoints: quick runs leave none";
  const listed = table(
    ["pipeline", "runs", "forks", "rows", "size", "due", "kept a while", "open or failed"],
    pipelines.map((of) => [
      of.pipeline ?? "(no run)",
      of.runs - of.forks,
      of.forks,
      of.checkpoints + of.blobs + of.writes,
      bytes(of.bytes),
      bytes(of.due_bytes),
      bytes(of.kept_bytes),
      bytes(of.open_bytes),
    ]),
  );
  return [listed, ...(runs.length > 0 ? [runsText(runs)] : [])].join("\n\n");
}

function runsText(runs: readonly RunUsage[]): string {
  return table(
    ["run", "pipeline", "status", "rows", "size", "freed"],
    runs.map((run) => [
      run.thread_id,
      run.pipeline,
      run.status,
      run.checkpoints + run.blobs + run.writes,
      bytes(run.bytes),
      freed(run),
    ]),
  );
}

function freed({ status, due_at }: RunUsage): string {
  if (due_at === null) return status === null ? "never" : `not while ${status}`;
  return due_at.getTime() <= Date.now() ? "next" : `from ${due_at.toISOString().slice(0, 16)}Z`;
}

import { Option } from "@commander-js/extra-typings";
import { listRuns } from "../../ledger/read.ts";
import type { Run } from "../../ledger/run.ts";
import { Status } from "../../ledger/states.ts";
import { ago, brief, dollars, print, table } from "../output.ts";
import { newCommand, tenantOption, unknownPipeline, uuid, wholeNumber } from "../program.ts";
import { withSession } from "../session.ts";

export const command = () =>
  newCommand(
    "runs",
    "list runs, newest first",
    "loregraph runs --status failed --pipeline dialog-mood --limit 20",
  )
    .addOption(tenantOption())
    .option("--pipeline <name>", "only of this pipeline")
    .addOption(new Option("--status <status>", "only in this status").choices(Status.options))
    .option("--entity <uuid>", "only about this entity", uuid("--entity"))
    .option("--limit <n>", "the most runs", wholeNumber("--limit", 1), 50)
    .action(async ({ tenant, pipeline, status, entity, limit, json }) => {
      await withSession(async ({ pool, config }) => {
        const filter = {
          tenant_id: tenant,
          pipeline,
          status: Status.optional().parse(status),
          source_id: entity,
          limit,
        };
        const runs = await listRuns(pool, filter);
        if (runs.length === 0 && pipeline !== undefined) await assertKnown(pipeline, config.graphs);
        print(runs, json, asText);
      });
    });

/** Without runs, a misspelt pipeline looks like an idle one. Those of a pipeline that is gone are shown all the same. */
async function assertKnown(pipeline: string, graphs: string | undefined): Promise<void> {
  const { loadRegistry } = await import("../../registry.ts");
  const registry = await loadRegistry(graphs);
  if (!registry.has(pipeline)) throw unknownPipeline(pipeline, registry.keys());
}

function asText(runs: readonly Run[]): string {
  if (runs.length === 0) return "no runs";
  const head = ["pipeline", "status", "attempt", "age", "cost", "entity"];
  const [heading = "", ...rows] = table(head, runs.map(row)).split("\n");
  return [heading, ...rows.flatMap((line, nth) => [line, ...more(runs[nth])])].join("\n");
}

/** What there is to know of a run that did not succeed, or has not yet. */
function more(run: Run | undefined): readonly string[] {
  if (!run || run.status === "success") return [];
  const why = run.error_message ? [`  ${run.error_code}: ${brief(run.error_message, 140)}`] : [];
  return [`  run ${run.id}`, ...why];
}

function row(run: Run): readonly (string | number)[] {
  return [
    run.pipeline,
    run.outcome ?? run.status,
    `${run.attempt}/${run.max_attempts}`,
    ago(run.created_at),
    dollars(run.cost_usd),
    `${run.source_type} ${run.source_id}`,
  ];
}

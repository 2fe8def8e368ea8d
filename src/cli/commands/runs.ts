import { Option } from "@commander-js/extra-typings";
import { listRuns } from "../../ledger/read.ts";
import type { Run } from "../../ledger/run.ts";
import { Status } from "../../ledger/states.ts";
import { ago, brief, dollars, print, table } from "../output.ts";
import { newCommand, tenantOption, uuid, wholeNumber } from "../program.ts";
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
      await withSession(async ({ pool }) => {
        const filter = {
          tenant_id: tenant,
          pipeline,
          status: Status.optional().parse(status),
          source_id: entity,
          limit,
        };
        print(await listRuns(pool, filter), json, asText);
      });
    });

function asText(runs: readonly Run[]): string {
  if (runs.length === 0) return "no runs";
  return table(["run", "pipeline", "entity", "status", "attempt", "age", "cost", "error"], runs.map(row));
}

function row(run: Run): readonly (string | number)[] {
  return [
    run.id,
    run.pipeline,
    `${run.source_type} ${run.source_id}`,
    run.outcome ?? run.status,
    `${run.attempt}/${run.max_attempts}`,
    ago(run.created_at),
    dollars(run.cost_usd),
    run.error_message ? brief(`${run.error_code}: ${run.error_message}`, 60) : "",
  ];
}

import { type Config, readConfig } from "../../config.ts";
import { LoregraphError } from "../../errors.ts";
import { loadRegistry } from "../../registry.ts";
import type { EntitySource } from "../../sources/entity-source.ts";
import { type SyncReport, syncTenant } from "../../sync.ts";
import { openLog } from "../../telemetry/log.ts";
import { exitCodes } from "../exit-codes.ts";
import { print } from "../output.ts";
import { newCommand, uuid } from "../program.ts";
import { progressOf } from "../progress.ts";
import { configuredMainService } from "../runtime.ts";
import { withSession } from "../session.ts";

export const command = () =>
  newCommand(
    "sync",
    "take in what a tenant has in the main service: all of it the first time, then what changed",
    "loregraph sync --tenant 7b0c1f6e-3f57-4a0e-9b61-0f6d3a3f9c11",
  )
    .requiredOption("--tenant <uuid>", "the tenant to sync", uuid("--tenant"))
    .option("--full", "look at all that the main service has, not only at what changed")
    .option("--allow-empty", "let a main service that has nothing of the tenant delete everything it gave")
    .action(async ({ tenant, full, allowEmpty, json }) => {
      const source = mainServiceOf(readConfig());
      await withSession(async ({ pool, config, signal }) => {
        const services = {
          pool,
          registry: await loadRegistry(config.graphs),
          source,
          log: openLog(config.logLevel),
        };
        const progress = progressOf("syncing");
        const onProgress = (done: number, note: string) => progress.update(done, 0, note);
        const report = await syncTenant(services, tenant, { full, allowEmpty, onProgress, signal }).finally(
          progress.end,
        );
        if (report) print(report, json, asText);
        else process.stderr.write(`another sync of tenant ${tenant} is under way: nothing was done\n`);
        process.exitCode = exitCodeOf(report);
      });
    });

function mainServiceOf(config: Config): EntitySource {
  const source = configuredMainService(config);
  if (source !== undefined) return source;
  throw new LoregraphError(
    "CONFIG_INVALID",
    "LOREGRAPH_MAIN_SERVICE_URL is not set, so there is no main service to sync with",
  );
}

function exitCodeOf(report: SyncReport | undefined): number {
  if (report === undefined) return exitCodes.failed;
  return report.rejected > 0 ? exitCodes.inPart : exitCodes.ok;
}

function asText({ full, cursor: _, rejections, ...counts }: SyncReport): string {
  const how = Object.entries(counts).map(([change, count]) => `${count} ${change}`);
  return [
    `${full ? "all" : "changes"} of the main service: ${how.join(", ")}`,
    ...rejections
      .slice(0, 20)
      .map(({ source_type, source_id, reason }) => `rejected: ${source_type} ${source_id}: ${reason}`),
    ...(counts.rejected > 20 ? [`and ${counts.rejected - 20} more; the log names them all`] : []),
  ].join("\n");
}

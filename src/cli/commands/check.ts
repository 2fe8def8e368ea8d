import { z } from "zod";
import { readConfig } from "../../config.ts";
import { one, type Pool } from "../../db.ts";
import { LoregraphError } from "../../errors.ts";
import { type LoadedRegistry, loadRegistry } from "../../registry.ts";
import { type Checked, checkPipeline } from "../../versions/check.ts";
import { acceptVersion, type Recorded, readRecorded } from "../../versions/recorded.ts";
import { exitCodes } from "../exit-codes.ts";
import { withKnownDatabase } from "../known-database.ts";
import { print } from "../output.ts";
import { newCommand, unknownPipeline } from "../program.ts";

type Answer = {
  readonly ok: boolean;
  /** Could it be asked which code ran before? */
  readonly database: boolean;
  readonly accepted: string | null;
  readonly pipelines: readonly Checked[];
};

export const command = () =>
  newCommand(
    "check",
    "check all pipelines, and whether one changed without a new version; needs no database",
    "loregraph check --json",
  )
    .option("--accept <pipeline>", "its answers are the same as before, though its code changed")
    .action(async ({ accept, json }) => {
      const config = readConfig();
      const registry = await loadRegistry(config.graphs);
      await withKnownDatabase(config, async (pool) => {
        if (accept !== undefined) await acceptNamed(pool, registry, accept);
        const recorded = pool && (await recordedOf(pool, registry));
        const pipelines = registry.versions.map((pipeline) => checkPipeline(pipeline, recorded));
        const ok = pipelines.every(({ findings }) => findings.every(({ level }) => level === "warning"));
        const database = recorded !== undefined;
        print<Answer>({ ok, database, accepted: accept ?? null, pipelines }, json, asText);
        if (!ok) process.exitCode = exitCodes.failed;
      });
    });

async function acceptNamed(pool: Pool | undefined, registry: LoadedRegistry, name: string): Promise<void> {
  const versions = registry.versions.filter((pipeline) => pipeline.name === name);
  if (versions.length === 0) throw unknownPipeline(name, registry.keys());
  if (pool === undefined || !(await hasVersions(pool)))
    throw new LoregraphError("DATABASE_UNAVAILABLE", "--accept is kept in the database, and none is there");
  for (const pipeline of versions) await acceptVersion(pool, pipeline);
}

/** Nothing is known in a database that no worker of this version has seen. */
async function recordedOf(pool: Pool, registry: LoadedRegistry): Promise<readonly Recorded[]> {
  return (await hasVersions(pool)) ? await readRecorded(pool, [...registry.keys()]) : [];
}

async function hasVersions(pool: Pool): Promise<boolean> {
  const There = z.object({ there: z.boolean() });
  const sql = "select to_regclass('pipeline_versions') is not null as there";
  return (await one(pool, There, sql)).there;
}

function asText({ ok, database, accepted, pipelines }: Answer): string {
  const findings = pipelines.flatMap(({ name, version, findings }) => [
    `${name} ${version}: ${findings.some(({ level }) => level === "error") ? "not sound" : "sound"}`,
    ...findings.map(({ level, what }) => `  ${level}: ${what}`),
  ]);
  return [
    ...(accepted === null ? [] : [`${accepted} answers as before: its code now counts as its version`]),
    ...findings,
    ...(database ? [] : ["no database answers, so it is not known which code ran before"]),
    ok ? "all pipelines are sound" : "some pipelines are not sound",
  ].join("\n");
}

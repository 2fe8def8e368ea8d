import type { Pool } from "../db.ts";
import type { Pipeline } from "../pipeline.ts";
import type { Log } from "../telemetry/log.ts";
import { changedText, changeOf } from "./changed.ts";
import { readRecorded, recordVersions } from "./recorded.ts";

/** Notes which code this process runs, and warns of each pipeline that changed while its version stayed. */
export async function noticeVersions(
  { pool, log }: { readonly pool: Pool; readonly log: Log },
  pipelines: readonly Pipeline[],
): Promise<void> {
  await recordVersions(pool, pipelines);
  const names = pipelines.map(({ name }) => name);
  const recorded = await readRecorded(pool, names);
  for (const changed of pipelines.flatMap((pipeline) => changeOf(pipeline, recorded) ?? [])) {
    const { pipeline, version, files } = changed;
    log.warn({ pipeline, version, files, solve: changedText(changed) }, "pipeline-changed-without-version");
  }
}

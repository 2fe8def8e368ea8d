import { openPool, type Pool } from "../../src/db.ts";
import { claimRuns } from "../../src/ledger/claim.ts";
import { runAttempt } from "../../src/worker/attempt.ts";
import { shared } from "../../src/worker/together.ts";
import { echo } from "../support/pipelines.ts";
import { runtime } from "../support/runtime.ts";

// A process that claims one run and attempts it, to be killed in the middle: `doomed.ts <database url> <mark>`.

type Database = { readonly pool: Pool; readonly url: string };

/** Base ingestion, and an enricher that follows from it, by names that bear a mark. */
export function contextOf(database: Database, mark: string) {
  const context = runtime(
    database,
    echo(() => ({ said: "so" })),
  );
  const marked = [...context.registry.values()].map((it) => ({ ...it, name: `${it.name}${mark}` }));
  return { ...context, registry: new Map(marked.map((pipeline) => [pipeline.name, pipeline])) };
}

/** From a claim to the commit of an answer. */
export async function claimAndAttempt(database: Database, mark: string): Promise<void> {
  const options = { worker: "doomed", pipelines: [`base${mark}`], limit: 1, leaseMs: 60_000 };
  for (const run of await claimRuns(database.pool, options))
    await runAttempt(shared(contextOf(database, mark)), run, new AbortController());
}

if (import.meta.main) {
  const [url = "", mark = ""] = process.argv.slice(2);
  const pool = openPool(url);
  await claimAndAttempt({ pool, url }, mark);
  await pool.end();
}

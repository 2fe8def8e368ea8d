import { openPool, type Pool } from "../../src/db.ts";
import { claimRuns } from "../../src/ledger/claim.ts";
import { runAttempt } from "../../src/worker/attempt.ts";
import { shared } from "../../src/worker/together.ts";
import { echo } from "../support/pipelines.ts";
import { runtime } from "../support/runtime.ts";

// A process that claims one run and attempts it, to be killed in the middle: `doomed.ts <database url>`.

/** Base ingestion, and an enricher that follows from it. */
export function contextOf(process: { readonly pool: Pool; readonly url: string }) {
  return runtime(
    process,
    echo(() => ({ said: "so" })),
  );
}

/** From a claim to the commit of an answer. */
export async function claimAndAttempt(process: { readonly pool: Pool; readonly url: string }): Promise<void> {
  const options = { worker: "doomed", pipelines: ["base"], limit: 1, leaseMs: 60_000 };
  for (const run of await claimRuns(process.pool, options))
    await runAttempt(shared(contextOf(process)), run, new AbortController());
}

if (import.meta.main) {
  const [url = ""] = process.argv.slice(2);
  const pool = openPool(url);
  await claimAndAttempt({ pool, url });
  await pool.end();
}

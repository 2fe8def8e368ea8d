import { claimRuns } from "../../src/ledger/claim.ts";
import { countOpenRuns } from "../../src/ledger/read.ts";
import { reapExpired } from "../../src/ledger/reap.ts";
import { pause } from "../../src/pause.ts";
import { settleReingests, sweepEnded } from "../../src/reingest/settle.ts";
import type { EntitySource } from "../../src/sources/entity-source.ts";
import { runAttempt } from "../../src/worker/attempt.ts";
import type { Context } from "../../src/worker/context.ts";
import { shared } from "../../src/worker/together.ts";
import { produceAll } from "./produce-all.ts";

/** Lets the leases of a tenant run out now rather than in their time, and takes its runs back. */
export async function reapNow({ pool }: Pick<Context, "pool">, tenant_id: string): Promise<void> {
  const expire = `update pipeline_runs set lease_expires_at = now() - interval '1 second'
    where tenant_id = $1 and status = 'running'`;
  // Again where another world's reaper was at the same runs: each passes over what the other has locked.
  while ((await pool.query(expire, [tenant_id])).rowCount !== 0) await reapExpired(pool);
}

/** Does all that workers and producers do for a tenant, until nothing is left that is not waited for. */
export async function workOff(context: Context, tenant_id: string, source?: EntitySource): Promise<void> {
  await produceAll(context, tenant_id, source);
  for (let open = true; open; ) {
    if ((await attemptAll(context)) === 0) await pause(2);
    const { pending, running } = await countOpenRuns(context.pool, {
      tenant_id,
      pipelines: [...context.registry.keys()],
    });
    open = pending + running > 0;
  }
  await sweepEnded(context.pool);
  await settleReingests(context);
}

async function attemptAll(context: Context): Promise<number> {
  const pipelines = [...context.registry.keys()];
  const runs = await claimRuns(context.pool, { worker: "healthy", pipelines, limit: 100, leaseMs: 60_000 });
  for (const run of runs) await runAttempt(shared(context), run, new AbortController());
  return runs.length;
}

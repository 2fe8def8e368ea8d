import { z } from "zod";
import { type Db, many, prepared } from "../db.ts";
import type { Stamp, Usage } from "../pipeline.ts";
import { lockedLeases, unleased } from "./lease.ts";
import type { Lease } from "./run.ts";
import type { RunOutcome } from "./states.ts";
import { addUsageOf, usageColumns } from "./usage.ts";
import { unasked } from "./waiting.ts";

/** How a run ends, or at which question it stops. */
export type RunEnd = { readonly lease: Lease; readonly usage: Usage } & (
  | {
      readonly status: "success";
      readonly outcome: RunOutcome;
      /** What made the output. A delivery makes none. */
      readonly stamp?: Stamp | undefined;
    }
  /** One that somebody asked to cancel is cancelled instead. It holds no lease while it waits. */
  | { readonly status: "waiting"; readonly question: unknown }
  | { readonly status: "cancelled"; readonly reason: string }
);

const Held = z.object({ lease_token: z.guid() });

/**
 * Ends runs, each fenced by its own lease. Where one ends well, or asks a person, older runs of its key that wait are
 * cancelled: it has read what is newest, so nobody need be asked about what was before.
 *
 * @returns the tokens of the leases that were held. Those that are missing were lost: nothing of their runs changed.
 */
export async function endRuns(db: Db, ends: readonly RunEnd[]): Promise<ReadonlySet<string>> {
  if (ends.length === 0) return new Set();
  const rows = await many(db, Held, endSql, [JSON.stringify(ends.map(columnsOf))]);
  return new Set(rows.map(({ lease_token }) => lease_token));
}

function columnsOf({ lease: { tenant_id, id, lease_token }, usage, ...end }: RunEnd) {
  const stamp = end.status === "success" ? end.stamp : undefined;
  // As text: a question may be JSON's null, which a column of records would take for none.
  const question = end.status === "waiting" ? JSON.stringify(end.question ?? null) : undefined;
  return { tenant_id, id, lease_token, ...end, stamp: undefined, question, ...stamp, ...usage };
}

const stops = "held.status = 'waiting' and run.cancel_requested_at is null";

const stamped = (column: Exclude<keyof Stamp, "fingerprint">) =>
  `${column} = coalesce(held.${column}, run.${column})`;

// Rows are locked in the order of their keys, as everybody does who holds several, and changed in that of the tallies
// of their reingests, which a trigger locks: two that end many runs wait for each other, never both.
const endSql = prepared(`
  with held as materialized (
    ${lockedLeases(
      `jsonb_to_recordset($1) as given (
        tenant_id uuid, id uuid, lease_token uuid, status text, outcome text, question text, reason text,
        pipeline_version integer, model text, prompt_hash text, input_hash text, fingerprint text,
        ${usageColumns}
      )`,
      "given.*, run.reingest_id, run.pipeline, run.source_type, run.source_id, run.cancel_requested_at",
    )}
  ),
  superseded as (
    update pipeline_runs older set status = 'cancelled', finished_at = now(), ${unasked}, error_code = 'CANCELLED',
      error_message = 'a later run of its pipeline and entity has ended, or asks anew'
    from held
    where (held.status = 'success' or held.status = 'waiting' and held.cancel_requested_at is null)
      and older.status = 'waiting' and older.tenant_id = held.tenant_id and older.pipeline = held.pipeline
      and older.source_type = held.source_type and older.source_id = held.source_id
  )
  update pipeline_runs run set
    status           = case when held.status = 'waiting' and not (${stops}) then 'cancelled' else held.status end,
    outcome          = held.outcome,
    question         = case when ${stops} then held.question::jsonb end,
    waiting_since    = case when ${stops} then now() end,
    finished_at      = case when ${stops} then null else now() end,
    error_code       = case when held.status = 'cancelled' then 'CANCELLED' else run.error_code end,
    error_message    = case when held.status = 'cancelled' then held.reason else run.error_message end,
    ${stamped("pipeline_version")}, ${stamped("model")}, ${stamped("prompt_hash")}, ${stamped("input_hash")},
    fingerprint      = coalesce(nullif(held.fingerprint, ''), run.fingerprint),
    ${unleased},
    ${addUsageOf("held")}
  from (select * from held order by tenant_id, reingest_id, pipeline, id) held
  where run.tenant_id = held.tenant_id and run.id = held.id
  returning held.lease_token`);

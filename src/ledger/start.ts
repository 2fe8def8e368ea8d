import { z } from "zod";
import { type Db, many, planFor, prepared } from "../db.ts";
import type { Stamp } from "../pipeline.ts";
import { lockedLeases } from "./lease.ts";
import type { Lease } from "./run.ts";

/** A graph that starts, and what makes its answer. */
export type Start = { readonly lease: Lease; readonly stamp: Stamp };

const Held = z.object({ lease_token: z.guid() });

/**
 * Notes that graphs start now: from here on their attempts count.
 *
 * @returns the tokens of the leases that were held. Those that are missing were lost: their graphs must not start.
 */
export async function startAttempts(db: Db, starts: readonly Start[]): Promise<ReadonlySet<string>> {
  const rows = await many(db, Held, startSql, [JSON.stringify(starts.map(columnsOf))]);
  return new Set(rows.map(({ lease_token }) => lease_token));
}

function columnsOf({ lease: { tenant_id, id, lease_token }, stamp }: Start) {
  return { tenant_id, id, lease_token, ...stamp };
}

/**
 * How a transaction of nothing else begins. Everybody sees it before its graph starts, so that a graph which kills its
 * process is counted; but nobody waits for the disk. A crash of Postgres in the moment after may lose it, and with it
 * nothing but the count: such an attempt looks like one that had not started, and is made once more. It cannot be lost
 * where its end is kept: that is committed later, and a log is on the disk up to each commit that waits for it.
 */
export const beginStart = (starts: number) => `begin; set local synchronous_commit = off; ${planFor(starts)}`;

const startSql = prepared(`
  with held as materialized (
    ${lockedLeases(`jsonb_to_recordset($1) as given (
      tenant_id uuid, id uuid, lease_token uuid, pipeline_version integer, model text, prompt_hash text, input_hash text,
      fingerprint text
    )`)}
  )
  update pipeline_runs run set
    attempt          = attempt + 1,
    graph_started_at = now(),
    pipeline_version = held.pipeline_version,
    model            = held.model,
    prompt_hash      = held.prompt_hash,
    input_hash       = held.input_hash,
    fingerprint      = nullif(held.fingerprint, '')
  from held
  where run.tenant_id = held.tenant_id and run.id = held.id
  returning held.lease_token`);

const newerPending = `exists (
  select from pipeline_runs newer
  where newer.status = 'pending' and newer.tenant_id = run.tenant_id and newer.pipeline = run.pipeline
    and newer.source_type = run.source_type and newer.source_id = run.source_id
)`;

/**
 * What becomes of a run whose attempt is given up: cancelled as asked, a dead letter where its attempts are `spent`,
 * cancelled because a newer run of its key is pending, or pending itself.
 */
export function afterwards(spent: string): string {
  const status = `case
    when run.cancel_requested_at is not null then 'cancelled'
    when ${spent} then 'failed'
    when ${newerPending} then 'cancelled'
    else 'pending'
  end`;
  return `status = ${status}, finished_at = case when ${status} <> 'pending' then now() end`;
}

/** The number of the attempt that is going on. It may fail before its graph started and was counted. */
export const nth = "(run.attempt + (run.graph_started_at is null)::integer)";

/** The newest twenty errors, this one the last of them. */
export function withError(code: string, message: string): string {
  return `(case when jsonb_array_length(run.errors) >= 20 then run.errors - 0 else run.errors end)
    || jsonb_build_object('attempt', ${nth}, 'at', now(), 'code', ${code}, 'message', ${message})`;
}

/**
 * What becomes of a wanted run where one of its key is already pending: that one takes over the newer version, which
 * starts with all its attempts. A run that both a reingest and somebody else want leaves the reingest, so that holding
 * this back holds back nobody else.
 */
export const coalesced = `
  on conflict (tenant_id, pipeline, source_type, source_id) where status = 'pending'
  do update set
    source_version = greatest(run.source_version, excluded.source_version),
    priority       = greatest(run.priority, excluded.priority),
    max_attempts   = excluded.max_attempts,
    cause_event    = excluded.cause_event,
    parent_run_id  = excluded.parent_run_id,
    reingest_id    = case when run.reingest_id is not null then excluded.reingest_id end,
    force          = run.force or excluded.force,
    attempt        = case when excluded.source_version > run.source_version then 0 else run.attempt end,
    run_after      = case when excluded.source_version > run.source_version then now() else run.run_after end`;

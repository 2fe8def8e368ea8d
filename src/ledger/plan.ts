/**
 * Lets the plan of a statement be made once a connection, by the indexes alone: one that was made while the table was
 * small must still be right when it is large.
 */
export const planOnce = `
  set local plan_cache_mode   = force_generic_plan;
  set local enable_seqscan    = off;
  set local enable_bitmapscan = off;
  set local jit               = off`;

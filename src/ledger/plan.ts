/**
 * Lets a statement be planned once a connection, and read in the order of an index: a plan that was made while a table
 * was small must be as good when it is large, and to scan or to sort few rows is to scan or to sort a million later.
 */
export const planOnce = `
  set local plan_cache_mode         = force_generic_plan;
  set local enable_seqscan          = off;
  set local enable_bitmapscan       = off;
  set local enable_sort             = off;
  set local enable_incremental_sort = off;
  set local jit                     = off`;

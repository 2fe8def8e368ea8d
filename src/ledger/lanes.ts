/** A lane is (tenant, pipeline, priority, reingest): what a claim looks at, whatever waits in it. */

/** Stands for "of no reingest", in an index that cannot jump over nulls. */
export const none = "'00000000-0000-0000-0000-000000000000'::uuid";

/** The last part of a run's lane, as `pending_lanes` has it. */
export const reingestOf = (run: string) => `coalesce(${run}.reingest_id, ${none})`;

/** A row's lane, to compare it in the order of `pending_lanes`. */
export const key = (row: string) =>
  `(${row}.tenant_id, ${row}.pipeline, ${row}.priority, ${row === "run" ? reingestOf(row) : `${row}.reingest`})`;

/** The first lane, in the order of `pending_lanes`, that has pending runs of which `where` is true. */
export const firstOfEach = (where: string) => `
  select run.tenant_id, run.pipeline, run.priority, ${reingestOf("run")} as reingest
  from pipeline_runs run
  where run.status = 'pending' and ${where}
  order by run.tenant_id, run.pipeline, run.priority, ${reingestOf("run")}
  limit 1`;

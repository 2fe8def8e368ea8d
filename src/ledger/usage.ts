import { noUsage } from "../pipeline.ts";

/** A run has a column for each figure of a usage, of the same name. */
const columns = Object.keys(noUsage);

/**
 * Adds a usage, JSON that the statement has as a parameter such as `$5` or in a column, to that of a run: attempts
 * that failed were paid for too. A field that the JSON lacks is refused by its column. `run` qualifies the run's
 * columns where others have the same names.
 */
export function addUsage(usage: string, run: "" | "run." = ""): string {
  return columns
    .map((column) => `${column} = ${run}${column} + (${usage}::jsonb ->> '${column}')::numeric`)
    .join(",\n       ");
}

import { noUsage } from "../pipeline.ts";

/** A run has a column for each figure of a usage, of the same name. */
const columns = Object.keys(noUsage);

/**
 * Adds a usage, the statement's JSON parameter such as `$5`, to that of a run: attempts that failed were paid for
 * too. A field that the JSON lacks is refused by its column.
 */
export function addUsage(usage: `$${number}`): string {
  return columns
    .map((column) => `${column} = ${column} + (${usage}::jsonb ->> '${column}')::numeric`)
    .join(",\n       ");
}

/** The figures of a usage as columns of JSON's records. */
export const usageColumns = columns.map((column) => `${column} numeric`).join(", ");

/** Adds the usage that stands in the columns of `given` to that of `run`; a field that is null is refused by its column. */
export function addUsageOf(given: string): string {
  return columns.map((column) => `${column} = run.${column} + ${given}.${column}`).join(",\n       ");
}

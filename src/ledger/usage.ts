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

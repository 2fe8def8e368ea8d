import type { Usage } from "../pipeline.ts";

type Column = keyof Usage;

// Named one by one, so that a usage without a column, or a column without a usage, does not compile.
const columns = Object.keys({
  model_calls: 0,
  embedding_calls: 0,
  tokens_in: 0,
  tokens_cached: 0,
  tokens_out: 0,
  embedding_tokens: 0,
  vectors_reused: 0,
  cost_usd: 0,
} satisfies Record<Column, 0>);

/**
 * Adds a usage, the statement's JSON parameter such as `$5`, to that of a run: attempts that failed were paid for
 * too. A field that the JSON lacks is refused by its column.
 */
export function addUsage(usage: `$${number}`): string {
  return columns
    .map((column) => `${column} = ${column} + (${usage}::jsonb ->> '${column}')::numeric`)
    .join(",\n       ");
}

import { z } from "zod";
import { type Db, execute, many } from "../db.ts";
import type { Usage } from "../pipeline.ts";

/** The bounds of the durations that attempts are counted by, in seconds; the last one has no upper end. */
export const durationBounds = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 600] as const;

/** What attempts of one pipeline that ended in one way add up to. */
export type AttemptTally = Pick<
  Usage,
  "model_calls" | "embedding_calls" | "tokens_in" | "tokens_out" | "embedding_tokens" | "cost_usd"
> & {
  readonly pipeline: string;
  readonly ending: string;
  readonly attempts: number;
  readonly seconds: number;
  /** Attempts by duration: how many took no longer than each of `durationBounds`. */
  readonly buckets: readonly number[];
};

/** Adds to what was counted before. */
export async function addTallies(db: Db, tallies: readonly AttemptTally[]): Promise<void> {
  if (tallies.length > 0) await execute(db, addSql, [JSON.stringify(tallies)]);
}

// Sorted, so that two workers that add to the same rows lock them in the same order.
const addSql = `
  insert into attempt_tallies as tally (pipeline, ending, attempts, seconds, buckets, model_calls, embedding_calls,
    tokens_in, tokens_out, embedding_tokens, cost_usd)
  select pipeline, ending, attempts, seconds, buckets, model_calls, embedding_calls,
    tokens_in, tokens_out, embedding_tokens, cost_usd
  from jsonb_to_recordset($1) as added (
    pipeline text, ending text, attempts bigint, seconds double precision, buckets bigint[], model_calls bigint,
    embedding_calls bigint, tokens_in bigint, tokens_out bigint, embedding_tokens bigint, cost_usd numeric
  )
  order by pipeline, ending
  on conflict (pipeline, ending) do update set
    attempts         = tally.attempts + excluded.attempts,
    seconds          = tally.seconds + excluded.seconds,
    buckets          = (
      select array_agg(coalesce(of.before, 0) + of.added order by of.nth)
      from unnest(tally.buckets, excluded.buckets) with ordinality as of (before, added, nth)
    ),
    model_calls      = tally.model_calls + excluded.model_calls,
    embedding_calls  = tally.embedding_calls + excluded.embedding_calls,
    tokens_in        = tally.tokens_in + excluded.tokens_in,
    tokens_out       = tally.tokens_out + excluded.tokens_out,
    embedding_tokens = tally.embedding_tokens + excluded.embedding_tokens,
    cost_usd         = tally.cost_usd + excluded.cost_usd`;

const count = z.coerce.number();
const Row = z.object({
  pipeline: z.string(),
  ending: z.string(),
  attempts: count,
  seconds: z.number(),
  buckets: z.array(count),
  model_calls: count,
  embedding_calls: count,
  tokens_in: count,
  tokens_out: count,
  embedding_tokens: count,
  cost_usd: count,
}) satisfies z.ZodType<AttemptTally>;

/** What all workers together have counted, ever. */
export async function readTallies(db: Db): Promise<readonly AttemptTally[]> {
  return await many(db, Row, "select * from attempt_tallies order by pipeline, ending");
}

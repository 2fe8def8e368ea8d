import { z } from "zod";
import { type Db, many } from "../db.ts";
import type { ReingestKey } from "./reingest.ts";

const count = z.coerce.number();

/** What became of the runs of one pipeline, and what they used. */
const PipelineTally = z.object({
  pipeline: z.string(),
  done: count,
  skipped: count,
  failed: count,
  cancelled: count,
  /** How many of these four were made by another run, and not by the producer. */
  follow_on: count,
  tokens: count,
  cost_usd: count,
});
export type PipelineTally = z.infer<typeof PipelineTally>;

export async function talliesOf(db: Db, { tenant_id, id }: ReingestKey): Promise<readonly PipelineTally[]> {
  return await many(
    db,
    PipelineTally,
    `select pipeline, sum(done) as done, sum(skipped) as skipped, sum(failed) as failed,
       sum(cancelled) as cancelled, sum(follow_on) as follow_on, sum(tokens) as tokens, sum(cost_usd) as cost_usd
     from reingest_tallies where tenant_id = $1 and reingest_id = $2
     group by pipeline order by pipeline`,
    [tenant_id, id],
  );
}

const kinds = ["done", "skipped", "failed", "cancelled", "follow_on", "tokens", "cost_usd"] as const;

export type Sums = Readonly<Record<(typeof kinds)[number], number>>;

/** Over all pipelines. */
export function sumOf(tallies: readonly PipelineTally[]): Sums {
  const sum = (kind: (typeof kinds)[number]) => tallies.reduce((total, tally) => total + tally[kind], 0);
  return Object.fromEntries(kinds.map((kind) => [kind, sum(kind)])) as Sums;
}

/** How many runs have ended. */
export function endedIn({ done, skipped, failed, cancelled }: Omit<Sums, "tokens" | "cost_usd">): number {
  return done + skipped + failed + cancelled;
}

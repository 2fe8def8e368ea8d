import type { Db } from "../db.ts";
import type { Pipeline } from "../pipeline.ts";
import type { PairCount } from "./count.ts";
import { type Figure, type Measured, measure } from "./measured.ts";
import type { Considered } from "./scope.ts";

/** What an estimate asks of the models. */
export type Priced = {
  readonly chatName: string | undefined;
  readonly local: boolean;
  costOf(tokens: { readonly in: number; readonly out: number; readonly embedding: number }): number;
};

/** What the pairs of one type and pipeline that run would use. */
export type Estimate = Readonly<Record<Figure, number>> & {
  readonly basis: "measured" | "estimated";
  /** How many earlier runs it is measured on. */
  readonly measured_runs: number;
};

/** Estimates by earlier runs where there are some, else by the length of the texts and the price table. */
export async function estimate(
  db: Db,
  tenant_id: string,
  { models, considered, pairs }: { models: Priced; considered: Considered; pairs: PairCount },
): Promise<Estimate> {
  if (pairs.run === 0) return { ...nothing, basis: "estimated", measured_runs: 0 };
  const measured = await measure(db, tenant_id, pairs.source_type, considered);
  return measured
    ? { ...byRuns(measured, pairs), basis: "measured", measured_runs: measured.runs }
    : { ...byLength(considered.pipeline, models, pairs), basis: "estimated", measured_runs: 0 };
}

const nothing = { tokens_in: 0, tokens_out: 0, embedding_tokens: 0, cost_usd: 0, seconds: 0, chunks: 0 };

/** A straight line through the earlier runs: so much a run, and so much an octet. */
function byRuns(measured: Measured, pairs: PairCount): Readonly<Record<Figure, number>> {
  const all = (figure: Figure) => along(measured, figure, pairs.run, pairs.octets);
  const embedded = share(pairs);
  return {
    tokens_in: all("tokens_in"),
    tokens_out: all("tokens_out"),
    embedding_tokens: all("embedding_tokens") * embedded,
    cost_usd: all("cost_usd") * embedded,
    seconds: all("seconds"),
    chunks: all("chunks"),
  };
}

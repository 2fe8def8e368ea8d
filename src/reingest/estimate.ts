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
    ? { ...byRuns(considered.pipeline, measured, pairs), basis: "measured", measured_runs: measured.runs }
    : { ...byLength(considered.pipeline, models, pairs), basis: "estimated", measured_runs: 0 };
}

const nothing = { tokens_in: 0, tokens_out: 0, embedding_tokens: 0, cost_usd: 0, seconds: 0, chunks: 0 };

/** A straight line through the earlier runs: so much a run, and so much an octet. */
function byRuns({ kind }: Pipeline, measured: Measured, pairs: PairCount): Readonly<Record<Figure, number>> {
  const all = (figure: Figure) => along(measured, figure, pairs.run, pairs.octets);
  const embedded = unknown(pairs);
  return {
    tokens_in: all("tokens_in"),
    tokens_out: all("tokens_out"),
    embedding_tokens: all("embedding_tokens") * embedded,
    cost_usd: all("cost_usd") * embedded,
    seconds: all("seconds"),
    // What base makes; enrichers read the same ones.
    chunks: kind === "ingestion" ? all("chunks") : 0,
  };
}

function along(measured: Measured, figure: Figure, runs: number, octets: number): number {
  const { mean, slope } = measured[figure];
  // A line that begins below nothing, or falls, is one of few points that say little: then through the origin, or flat.
  const rise = Math.max(0, slope ?? 0);
  const start = mean - rise * measured.octets;
  return start < 0 ? (mean / measured.octets) * octets : start * runs + rise * octets;
}

/** The part of the texts whose vectors are not known: what is known costs base nothing. */
function unknown({ octets, known }: PairCount): number {
  return octets === 0 ? 1 : (octets - known) / octets;
}

/** A token of the known models is about four letters of English, or one sign of three octets. */
const octetsPerToken = 4;
/** Chunks are cut where texts pause, so they fill about three quarters of their budget of 256 tokens. */
const tokensPerChunk = 192;
/** One call is counted a prompt, with an answer of so many tokens. */
const tokensPerAnswer = 150;
/** Of one run, before any was measured. */
const guessedSeconds = { embedding: 0.5, chat: 5, local: 0.05 };

function byLength(pipeline: Pipeline, models: Priced, pairs: PairCount): Readonly<Record<Figure, number>> {
  return pipeline.kind === "ingestion" ? embedding(models, pairs) : reading(pipeline, models, pairs);
}

function embedding(models: Priced, pairs: PairCount): Readonly<Record<Figure, number>> {
  const tokens = pairs.octets / octetsPerToken;
  const embedding_tokens = models.local ? 0 : tokens * unknown(pairs);
  return {
    ...nothing,
    embedding_tokens,
    cost_usd: models.costOf({ in: 0, out: 0, embedding: embedding_tokens }),
    seconds: pairs.run * (models.local ? guessedSeconds.local : guessedSeconds.embedding),
    chunks: pairs.octets === 0 ? 0 : Math.max(pairs.run, tokens / tokensPerChunk),
  };
}

function reading({ prompts }: Pipeline, models: Priced, pairs: PairCount): Readonly<Record<Figure, number>> {
  if (models.chatName === undefined) return { ...nothing, seconds: pairs.run * guessedSeconds.local };
  const prompt = Buffer.byteLength(prompts.join("")) / octetsPerToken;
  const tokens_in = pairs.run * prompt + pairs.octets / octetsPerToken;
  const tokens_out = pairs.run * tokensPerAnswer * Math.max(1, prompts.length);
  return {
    ...nothing,
    tokens_in,
    tokens_out,
    cost_usd: models.costOf({ in: tokens_in, out: tokens_out, embedding: 0 }),
    seconds: pairs.run * guessedSeconds.chat,
  };
}

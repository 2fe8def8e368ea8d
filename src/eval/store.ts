import { z } from "zod";
import { type Db, execute, many, maybeOne, one, type Pool, transaction } from "../db.ts";
import type { Measure } from "../pipeline.ts";
import { storableJson } from "../store/storable.ts";
import type { Evaluation } from "./evaluate.ts";

const Count = z.coerce.number();

const Scored = z.object({
  score: z.number(),
  off: z.number().optional(),
  expected: z.number().optional(),
  given: z.number().optional(),
  both: z.number().optional(),
  why: z.string().optional(),
});

const StoredCase = z.object({
  name: z.string(),
  expected: z.record(z.string(), z.unknown()),
  answer: z.record(z.string(), z.unknown()).nullable(),
  scores: z.record(z.string(), Scored),
  error: z.object({ code: z.string(), message: z.string() }).nullable(),
  ms: Count,
  tokens_in: Count,
  tokens_out: Count,
  cost_usd: z.number(),
});

const Field = z.object({
  field: z.string(),
  measure: z.custom<Measure["kind"]>((kind) => typeof kind === "string"),
  examples: z.int(),
  mean: z.number(),
  low: z.number(),
  high: z.number(),
  method: z.enum(["wilson", "bootstrap"]),
  off: z.number().optional(),
  precision: z.number().optional(),
  recall: z.number().optional(),
});

const Summary = z.object({
  id: z.guid(),
  created_at: z.date(),
  pipeline: z.string(),
  pipeline_version: z.int(),
  model: z.string(),
  prompt_hash: z.string(),
  fingerprint: z.string(),
  data: z.string(),
  data_hash: z.string(),
  measures: z.record(
    z.string(),
    z.custom<Measure>((measure) => typeof measure === "object"),
  ),
  fields: z.array(Field),
  failed: z.int(),
  rejected: z.int(),
  ms: Count,
  tokens_in: Count,
  tokens_out: Count,
  cost_usd: z.number(),
});

/** What an evaluation came to, without its cases. */
export type EvaluationSummary = z.infer<typeof Summary>;

const Stored = Summary.extend({ cases: z.array(StoredCase) });
export type StoredEvaluation = z.infer<typeof Stored>;

/** Stores an evaluation with its cases, all of it or nothing. Answers what names it from now on. */
export async function storeEvaluation(
  pool: Pool,
  evaluation: Evaluation,
): Promise<Pick<StoredEvaluation, "id" | "created_at">> {
  return await transaction(pool, async (db) => {
    const stored = await insertEvaluation(db, evaluation);
    await insertCases(db, stored.id, evaluation.cases);
    return stored;
  });
}

async function insertEvaluation(db: Db, evaluation: Evaluation) {
  return await one(
    db,
    Summary.pick({ id: true, created_at: true }),
    `insert into evaluations (
       pipeline, pipeline_version, model, prompt_hash, fingerprint, data, data_hash, measures, fields, failed, rejected,
       ms, tokens_in, tokens_out, cost_usd
     ) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
     returning id, created_at`,
    [
      evaluation.pipeline,
      evaluation.pipeline_version,
      evaluation.model,
      evaluation.prompt_hash,
      evaluation.fingerprint,
      evaluation.data,
      evaluation.data_hash,
      JSON.stringify(evaluation.measures),
      JSON.stringify(evaluation.fields),
      evaluation.failed,
      evaluation.rejected,
      evaluation.ms,
      evaluation.tokens_in,
      evaluation.tokens_out,
      evaluation.cost_usd,
    ],
  );
}

async function insertCases(db: Db, id: string, cases: Evaluation["cases"]): Promise<void> {
  await execute(
    db,
    `insert into evaluation_cases (
       evaluation_id, ordinal, name, expected, answer, scores, error, ms, tokens_in, tokens_out, cost_usd
     )
     select $1, ordinality - 1, value ->> 'name', value -> 'expected', nullif(value -> 'answer', 'null'),
       value -> 'scores', nullif(value -> 'error', 'null'), (value ->> 'ms')::bigint,
       (value ->> 'tokens_in')::bigint, (value ->> 'tokens_out')::bigint, (value ->> 'cost_usd')::double precision
     from jsonb_array_elements($2::jsonb) with ordinality`,
    [id, JSON.stringify(storableJson({ cases }).cases)],
  );
}

/** The evaluations of a pipeline, or of all, newest first. */
export async function listEvaluations(
  db: Db,
  { pipeline, limit }: { readonly pipeline?: string | undefined; readonly limit: number },
): Promise<readonly EvaluationSummary[]> {
  return await many(
    db,
    Summary,
    `select * from evaluations where $1::text is null or pipeline = $1 order by id desc limit $2`,
    [pipeline ?? null, limit],
  );
}

/** One evaluation with its cases, in the order of its examples. */
export async function readEvaluation(db: Db, id: string): Promise<StoredEvaluation | undefined> {
  const summary = await maybeOne(db, Summary, `select * from evaluations where id = $1`, [id]);
  if (!summary) return undefined;
  const cases = await many(
    db,
    StoredCase,
    `select * from evaluation_cases where evaluation_id = $1 order by ordinal`,
    [id],
  );
  return { ...summary, cases: [...cases] };
}

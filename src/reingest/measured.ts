import { z } from "zod";
import { type Db, many } from "../db.ts";
import type { SourceType } from "../pipeline.ts";
import type { Considered } from "./scope.ts";

/** How a figure of a run goes with the length of its text, over the runs that it is measured on. */
const Line = z.object({ mean: z.number(), slope: z.number().nullable() });

const Measured = z.object({
  runs: z.int(),
  /** Octets of a text, on average. */
  octets: z.number(),
  tokens_in: Line,
  tokens_out: Line,
  embedding_tokens: Line,
  cost_usd: Line,
  seconds: Line,
  chunks: Line,
});
export type Measured = z.infer<typeof Measured>;
export type Figure = Exclude<keyof Measured, "runs" | "octets">;

/** Fewer runs than these say too little. */
const enough = 5;

/**
 * What earlier runs of a pipeline used, of the same version and model, on entities of this type: those that made what
 * the tenant has stored, else the newest ones of any tenant and type. Undefined where there are fewer than five.
 */
export async function measure(
  db: Db,
  tenant_id: string,
  type: SourceType,
  considered: Considered,
): Promise<Measured | undefined> {
  const { pipeline, maker } = considered;
  const made = [pipeline.name, maker.pipeline_version, maker.model];
  const isBase = pipeline.kind === "ingestion";
  const own = await many(db, Measured, isBase ? ownBaseSql : ownSql, [...made, tenant_id, type]);
  const found = own.find(({ runs }) => runs >= enough) ? own : await many(db, Measured, anySql, made);
  return found.find(({ runs }) => runs >= enough);
}

/**
 * Of runs whose texts lie beside them: a mean, and a slope over the texts' octets, of each figure. What a run was given
 * from the tenant's vectors would hide what a new text costs, so those do not count here. Waiting for a second attempt
 * is not work.
 */
const summed = (sample: string) => `
  with sample as (
    select run.tokens_in, run.tokens_out, run.embedding_tokens, run.cost_usd,
      case when run.attempt <= 1 then extract(epoch from run.finished_at - run.started_at) end as seconds,
      octet_length(entity.text) as octets,
      (
        select count(*) from chunks chunk
        where chunk.tenant_id = run.tenant_id and chunk.source_type = run.source_type
          and chunk.source_id = run.source_id
      ) as chunks
    from (${sample}) run
    join entities entity using (tenant_id, source_type, source_id)
    where run.status = 'success' and run.outcome in ('completed', 'skipped') and run.vectors_reused = 0
      and run.pipeline = $1 and run.pipeline_version = $2 and run.model = $3
  )
  select count(*)::integer as runs, coalesce(avg(octets), 0)::float8 as octets,
    ${["tokens_in", "tokens_out", "embedding_tokens", "cost_usd", "seconds", "chunks"]
      .map(
        (figure) => `json_build_object('mean', coalesce(avg(${figure}), 0),
          'slope', regr_slope(${figure}::float8, octets)) as ${figure}`,
      )
      .join(",\n    ")}
  from sample`;

const runOf = (output: string) => `
  select run.* from (${output}) output
  join pipeline_runs run on run.tenant_id = output.tenant_id and run.id = output.run_id`;

const ownBaseSql = summed(
  runOf("select * from documents where tenant_id = $4 and source_type = $5 limit 500"),
);

const ownSql = summed(
  runOf("select * from enrichments where tenant_id = $4 and source_type = $5 and pipeline = $1 limit 500"),
);

const anySql = summed(
  "select * from pipeline_runs where finished_at is not null order by finished_at desc limit 5000",
);

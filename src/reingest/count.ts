import { z } from "zod";
import type { RunRequest } from "../ledger/run.ts";
import type { Metadata, SourceType } from "../pipeline.ts";
import { wants } from "../router.ts";
import type { Considered, Scope } from "./scope.ts";
import { numbered } from "./verdicts.ts";

/** What was decided about the pairs of one type and pipeline. */
export type PairCount = {
  readonly source_type: SourceType;
  readonly pipeline: string;
  /** Entities that the pipeline was considered for: those skipped and those that run. */
  readonly entities: number;
  /** Unchanged. */
  readonly skipped: number;
  /** What runs: at once, or when its base run has told of the entity. */
  readonly run: number;
  /** Octets of the texts that run. */
  readonly octets: number;
  /** Of those, the octets that base has embedded before, by the same model: their vectors are known. */
  readonly known: number;
};

/** A verdict as the statement gives it: of one pair, or of many that are alike. */
export const Row = z.object({
  nth: z.int(),
  verdict: z.enum(["run", "skip"]).nullable(),
  /** 1 where the pair comes by itself. */
  pairs: z.int(),
  octets: z.number(),
  known: z.number(),
  source_id: z.string().nullable(),
  version: z.int(),
  has_document: z.boolean(),
  base_runs: z.boolean(),
  metadata: z.custom<Metadata>().nullable(),
  last: z.string().nullable(),
});
export type Row = z.infer<typeof Row>;

/** What is decided so far. `counts` is by type and pipeline. */
export type Tally = {
  readonly scope: Scope;
  readonly pipelines: readonly (Considered | undefined)[];
  readonly counts: Map<string, { -readonly [Name in keyof PairCount]: PairCount[Name] }>;
  seen: number;
};

export const newTally = (scope: Scope): Tally => ({
  scope,
  pipelines: numbered(scope),
  counts: new Map(),
  seen: 0,
});

/** Adds a verdict. @returns the run to enqueue, where there is one. */
export function count(tally: Tally, type: SourceType, row: Row): RunRequest | undefined {
  if (row.nth === 0) tally.seen += row.pairs;
  const considered = tally.pipelines[row.nth];
  if (considered === undefined || row.verdict === null) return;
  const { source_id } = row;
  if (source_id === null) return void add(tally, considered, type, row);
  const follows = row.nth > 0 && row.base_runs && isWanted(tally.scope.base, row);
  const canRun = row.nth === 0 || row.has_document || follows;
  if (!canRun || !isWanted(considered, row)) return;
  add(tally, considered, type, row);
  return follows
    ? undefined
    : requestOf(tally.scope, considered, { source_type: type, source_id, version: row.version });
}

/** Metadata comes only where some code asks for it. */
function isWanted(considered: Considered | undefined, { metadata }: Row): boolean {
  return considered !== undefined && wants(considered.pipeline, metadata ?? {});
}

function add({ counts }: Tally, { pipeline }: Considered, source_type: SourceType, row: Row): void {
  const key = `${source_type} ${pipeline.name}`;
  const none = { source_type, pipeline: pipeline.name, entities: 0, skipped: 0, run: 0, octets: 0, known: 0 };
  const counted = counts.get(key) ?? none;
  counted.entities += row.pairs;
  if (row.verdict === "skip") counted.skipped += row.pairs;
  else {
    counted.run += row.pairs;
    counted.octets += row.octets;
    counted.known += row.known;
  }
  counts.set(key, counted);
}

type Subject = Pick<RunRequest, "source_type" | "source_id"> & Pick<Row, "version">;

function requestOf(scope: Scope, { pipeline }: Considered, subject: Subject): RunRequest {
  return {
    tenant_id: scope.tenant_id,
    source_type: subject.source_type,
    source_id: subject.source_id,
    source_version: subject.version,
    pipeline: pipeline.name,
    priority: scope.priority,
    max_attempts: pipeline.retries.attempts,
    force: scope.force,
  };
}

import { z } from "zod";
import { type Db, many } from "../db.ts";
import { SourceType } from "../pipeline.ts";
import { compare, distanceOf, type FieldDifference } from "./compare.ts";

/** How one field differs over all pairs of outputs. */
export type FieldSummary = {
  readonly field: string;
  readonly pairs: number;
  readonly equal: number;
  readonly distance: number;
  /** Of numbers: after less before, on average, and the largest either way. */
  readonly mean_delta?: number;
  readonly largest_delta?: number;
  /** Of lists: items that came and went, on average. */
  readonly mean_added?: number;
  readonly mean_removed?: number;
};

export type Example = {
  readonly tenant_id: string;
  readonly source_type: string;
  readonly source_id: string;
  readonly distance: number;
  /** Those that are equal are left out. */
  readonly fields: readonly FieldDifference[];
};

/** How the outputs of two versions differ, by field and by example, the most different first. */
export type Diff = {
  readonly pipeline: string;
  readonly from: number;
  readonly to: number;
  /** Entities of which both have an output, of the same version of the entity. */
  readonly pairs: number;
  readonly equal: number;
  /** Candidates beside which there is no output of the other version to compare with. */
  readonly uncompared: number;
  readonly fields: readonly FieldSummary[];
  readonly examples: readonly Example[];
};

export type DiffAsked = {
  readonly pipeline: string;
  readonly from: number;
  readonly to: number;
  readonly tenant_id?: string | undefined;
  /** How many examples. */
  readonly limit: number;
};

const Row = z.object({
  tenant_id: z.guid(),
  source_type: SourceType,
  source_id: z.guid(),
  before: z.record(z.string(), z.unknown()).nullable(),
  after: z.record(z.string(), z.unknown()),
});
type Row = z.infer<typeof Row>;

const pageSize = 500;

/** Compares what a tried version made with what is stored, a page at a time: memory does not grow with the share. */
export async function diffVersions(db: Db, asked: DiffAsked): Promise<Diff> {
  const fields = new Map<string, Sums>();
  let [pairs, equal, uncompared] = [0, 0, 0];
  let examples: readonly Example[] = [];
  for (let after: Row | undefined, size = pageSize; size === pageSize; ) {
    const rows = await many(db, Row, pageSql, valuesOf(asked, after));
    for (const row of rows) {
      if (row.before === null) uncompared += 1;
      else {
        const differences = compare({ before: row.before, after: row.after });
        for (const difference of differences) add(fields, difference);
        const example = exampleOf(row, differences);
        [pairs, equal] = [pairs + 1, equal + Number(example.distance === 0)];
        examples = most([...examples, ...(example.distance > 0 ? [example] : [])], asked.limit);
      }
    }
    [after, size] = [rows.at(-1), rows.length];
  }
  const { pipeline, from, to } = asked;
  const summaries = [...fields].map(([field, sums]) => summaryOf(field, sums));
  return {
    ...{ pipeline, from, to, pairs, equal, uncompared, examples },
    fields: summaries.toSorted((a, b) => b.distance - a.distance),
  };
}

function valuesOf({ pipeline, from, to, tenant_id }: DiffAsked, after: Row | undefined): readonly unknown[] {
  const place = [after?.tenant_id ?? null, after?.source_type ?? null, after?.source_id ?? null];
  return [pipeline, from, to, tenant_id ?? null, ...place, pageSize];
}

const pageSql = `
  select tenant_id, source_type, source_id, stored.output as before, candidate.output as after
  from candidate_outputs candidate
  left join lateral (
    select output from enrichments stored
    where stored.tenant_id = candidate.tenant_id and stored.source_type = candidate.source_type
      and stored.source_id = candidate.source_id and stored.pipeline = $1 and stored.pipeline_version = $2
      and stored.source_version = candidate.source_version
  ) stored on true
  where pipeline = $1 and pipeline_version = $3 and ($4::uuid is null or tenant_id = $4)
    and ($5::uuid is null or (tenant_id, source_type, source_id) > ($5, $6::text, $7::uuid))
  order by tenant_id, source_type, source_id
  limit $8`;

function exampleOf(
  { tenant_id, source_type, source_id }: Row,
  differences: readonly FieldDifference[],
): Example {
  const fields = differences
    .filter(({ distance }) => distance > 0)
    .toSorted((a, b) => b.distance - a.distance);
  return { tenant_id, source_type, source_id, distance: distanceOf(differences), fields };
}

function most(examples: readonly Example[], limit: number): readonly Example[] {
  return examples.toSorted((a, b) => b.distance - a.distance).slice(0, limit);
}

type Sums = {
  pairs: number;
  equal: number;
  distance: number;
  numbers: number;
  delta: number;
  largest: number;
  lists: number;
  added: number;
  removed: number;
};

function add(fields: Map<string, Sums>, { field, distance, delta, added, removed }: FieldDifference): void {
  const none = {
    pairs: 0,
    equal: 0,
    distance: 0,
    numbers: 0,
    delta: 0,
    largest: 0,
    lists: 0,
    added: 0,
    removed: 0,
  };
  const sums = fields.get(field) ?? none;
  sums.pairs += 1;
  sums.equal += Number(distance === 0);
  sums.distance += distance;
  if (delta !== undefined) {
    sums.numbers += 1;
    sums.delta += delta;
    if (Math.abs(delta) > Math.abs(sums.largest)) sums.largest = delta;
  }
  if (added !== undefined && removed !== undefined) {
    sums.lists += 1;
    sums.added += added.length;
    sums.removed += removed.length;
  }
  fields.set(field, sums);
}

function summaryOf(field: string, sums: Sums): FieldSummary {
  const { pairs, equal, numbers, lists } = sums;
  return {
    ...{ field, pairs, equal, distance: sums.distance / pairs },
    ...(numbers > 0 && { mean_delta: sums.delta / numbers, largest_delta: sums.largest }),
    ...(lists > 0 && { mean_added: sums.added / lists, mean_removed: sums.removed / lists }),
  };
}

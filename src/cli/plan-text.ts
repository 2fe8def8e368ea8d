import type { Plan, PlanRow } from "../reingest/plan.ts";
import { dollars, table } from "./output.ts";

/** A plan as people read it: what would run, what it would cost, and what each estimate goes by. */
export function planText({ filters, totals, rows, duration, notes }: Plan): string {
  const head = ["type", "pipeline", "entities", "unchanged", "run", "chunks", "tokens", "cost", "basis"];
  return [
    filterText(filters),
    "",
    rows.length === 0 ? "nothing matches" : table(head, [...rows.map(cells), totalCells(totals)]),
    "",
    `about ${span(duration.seconds)}: ${duration.explanation}`,
    ...notes.map((note) => `note: ${note}`),
    "a plan only: no model was called and nothing was enqueued",
  ].join("\n");
}

function cells(row: PlanRow): readonly (string | number)[] {
  const { source_type, pipeline, entities, skipped, run, chunks } = row;
  const tokens = row.tokens_in + row.tokens_out + row.embedding_tokens;
  return [source_type, pipeline, entities, skipped, run, chunks, tokens, dollars(row.cost_usd), basis(row)];
}

function basis(row: PlanRow): string {
  if (row.run === 0) return "";
  return row.basis === "measured" ? `measured on ${row.measured_runs} runs` : "text length and prices";
}

function totalCells({
  pairs,
  skipped,
  run,
  chunks,
  tokens,
  cost_usd,
}: Plan["totals"]): readonly (string | number)[] {
  return ["total", "", pairs, skipped, run, chunks, tokens, dollars(cost_usd), ""];
}

function filterText(filters: Plan["filters"]): string {
  const { types, pipelines, ids, changed_since, only, stale_version, force, source } = filters;
  return [
    `pipelines: ${pipelines.join(", ")}`,
    `types: ${types.join(", ")}`,
    ...(ids ? [`ids: ${ids.length}`] : []),
    ...(changed_since ? [`changed since: ${changed_since}`] : []),
    ...(only ? [`only: ${only}${stale_version ? `, made by version ${stale_version}` : ""}`] : []),
    ...(force ? ["force: what has not changed runs too"] : []),
    ...(source === "local" ? [] : [`source: ${source}`]),
  ].join("\n");
}

/** A time as people say it: `3 min`. */
export function span(seconds: number): string {
  if (seconds < 90) return `${Math.ceil(seconds)} s`;
  if (seconds < 5_400) return `${Math.round(seconds / 60)} min`;
  return seconds < 172_800 ? `${Math.round(seconds / 3_600)} h` : `${Math.round(seconds / 86_400)} d`;
}

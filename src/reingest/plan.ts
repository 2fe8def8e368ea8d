import { z } from "zod";
import { type Db, type Pool, transaction } from "../db.ts";
import { keptFree, type LiveWorker, listWorkers } from "../ledger/workers.ts";
import type { Models } from "../models/models.ts";
import { SourceType } from "../pipeline.ts";
import type { Registry } from "../registry.ts";
import type { ModelNames } from "../store/stamps.ts";
import type { PairCount } from "./count.ts";
import { decideAll } from "./decide.ts";
import { estimate, type Priced } from "./estimate.ts";
import { notesOn } from "./notes.ts";
import { Filters, type ReingestRequest, understood } from "./request.ts";
import { type Scope, scopeOf } from "./scope.ts";

const count = z.int().nonnegative();
const Basis = z.enum(["measured", "estimated"]);

const PlanRow = z.object({
  source_type: SourceType,
  pipeline: z.string(),
  entities: count,
  skipped: count.describe("Unchanged"),
  run: count,
  chunks: count,
  tokens_in: count,
  tokens_out: count,
  embedding_tokens: count,
  cost_usd: z.number().nonnegative(),
  seconds: z.number().nonnegative().describe("Of work, one run after the other"),
  basis: Basis.describe("Earlier runs, or the texts' length and the price table"),
  measured_runs: count.describe("How many earlier runs it is measured on"),
});
export type PlanRow = z.infer<typeof PlanRow>;

/** What a reingest would do: how much of it, what it would cost and how long it would take. */
export const Plan = z.object({
  tenant_id: z.guid(),
  filters: Filters,
  totals: z.object({
    entities: count,
    pairs: count.describe("Of entity and pipeline: skipped and run"),
    skipped: count,
    run: count,
    chunks: count,
    tokens: count.describe("In, out and embedded"),
    cost_usd: z.number().nonnegative(),
    seconds: z.number().nonnegative().describe("From start to end"),
  }),
  rows: z.array(PlanRow),
  duration: z.object({
    seconds: z.number().nonnegative(),
    slots: count,
    basis: Basis,
    explanation: z.string(),
  }),
  notes: z.array(z.string()),
});
export type Plan = z.infer<typeof Plan>;

export type PlanContext = {
  readonly pool: Pool;
  readonly registry: Registry;
  readonly models: ModelNames & Priced & Pick<Models, "unpriced">;
};

/**
 * Plans a reingest: calls no model and enqueues nothing. Throws as `understood` and `scopeOf` do.
 *
 * It reads one snapshot of the database, so that its counts belong together, whatever is written meanwhile.
 */
export async function planReingest(
  { pool, registry, models }: PlanContext,
  tenant_id: string,
  request: ReingestRequest,
): Promise<Plan> {
  const filters = understood(registry, request);
  return await transaction(pool, async (db) => {
    await db.query("set transaction isolation level repeatable read, read only");
    const scope = await scopeOf(db, { registry, models }, tenant_id, filters);
    const counted = await decideAll(db, scope);
    const rows = await rowsOf(db, { scope, models, pairs: counted.pairs });
    const duration = durationOf(rows, await listWorkers(db), filters);
    const totals = { ...totalsOf(rows), entities: counted.seen, seconds: duration.seconds };
    return {
      tenant_id,
      filters,
      totals,
      rows,
      duration,
      notes: notesOn({ pipelines: [...registry.values()], scope, filters, models, rows }),
    };
  });
}

type Costed = { readonly scope: Scope; readonly models: Priced; readonly pairs: readonly PairCount[] };

async function rowsOf(db: Db, { scope, models, pairs }: Costed): Promise<PlanRow[]> {
  const rows: PlanRow[] = [];
  for (const considered of [scope.base, ...scope.enrichers]) {
    for (const each of pairs.filter(({ pipeline }) => pipeline === considered?.pipeline.name)) {
      if (considered) rows.push(await rowOf(db, scope.tenant_id, { models, considered, pairs: each }));
    }
  }
  return rows;
}

async function rowOf(db: Db, tenant_id: string, asked: Parameters<typeof estimate>[2]): Promise<PlanRow> {
  const { octets: _, known: __, ...pairs } = asked.pairs;
  const figures = await estimate(db, tenant_id, asked);
  return {
    ...pairs,
    chunks: Math.round(figures.chunks),
    tokens_in: Math.round(figures.tokens_in),
    tokens_out: Math.round(figures.tokens_out),
    embedding_tokens: Math.round(figures.embedding_tokens),
    cost_usd: rounded(figures.cost_usd, 9),
    seconds: rounded(figures.seconds, 3),
    basis: figures.basis,
    measured_runs: figures.measured_runs,
  };
}

function totalsOf(rows: readonly PlanRow[]): Omit<Plan["totals"], "entities" | "seconds"> {
  const sum = (of: (row: PlanRow) => number) => rows.reduce((total, row) => total + of(row), 0);
  return {
    pairs: sum(({ entities }) => entities),
    skipped: sum(({ skipped }) => skipped),
    run: sum(({ run }) => run),
    chunks: sum(({ chunks }) => chunks),
    tokens: sum((row) => row.tokens_in + row.tokens_out + row.embedding_tokens),
    cost_usd: rounded(
      sum(({ cost_usd }) => cost_usd),
      9,
    ),
  };
}

/** What workers are taken to have where none was heard of. */
const assumedSlots = 8;

function durationOf(
  rows: readonly PlanRow[],
  workers: readonly LiveWorker[],
  { max_runs_per_minute }: Filters,
): Plan["duration"] {
  const live = workers.reduce((sum, { concurrency }) => sum + concurrency - keptFree(concurrency), 0);
  const slots = live || assumedSlots;
  const working = rows.reduce((sum, { seconds }) => sum + seconds, 0) / slots;
  const runs = rows.reduce((sum, { run }) => sum + run, 0);
  const paced = max_runs_per_minute === undefined ? 0 : (runs / max_runs_per_minute) * 60;
  const isMeasured = rows.every(({ run, basis }) => run === 0 || basis === "measured");
  return {
    seconds: rounded(Math.max(working, paced), 1),
    slots,
    basis: isMeasured ? "measured" : "estimated",
    explanation: [
      isMeasured ? "by the time that earlier runs took" : "by guessed times where too few runs were measured",
      live
        ? `over the ${slots} slots of the workers now alive`
        : `over ${slots} slots, as no worker is alive`,
      ...(paced > working ? [`and held to ${max_runs_per_minute} runs a minute`] : []),
    ].join(", "),
  };
}

function rounded(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}

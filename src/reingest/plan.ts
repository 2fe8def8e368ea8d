import { z } from "zod";
import type { Pool } from "../db.ts";
import type { Models } from "../models/models.ts";
import { SourceType } from "../pipeline.ts";
import type { Registry } from "../registry.ts";
import { Filters, type ReingestRequest } from "./request.ts";

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

export type PlanContext = { readonly pool: Pool; readonly registry: Registry; readonly models: Models };

/** Plans a reingest: calls no model and enqueues nothing. Throws as `understood` and `scopeOf` do. */
export async function planReingest(
  context: PlanContext,
  tenant_id: string,
  request: ReingestRequest,
): Promise<Plan> {
  throw new Error("not yet");
}

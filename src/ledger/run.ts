import { z } from "zod";
import { SubjectType, type Usage } from "../pipeline.ts";
import { RunOutcome, Status } from "./states.ts";

/** What a run is about. At most one pending and one running run share these four. */
export type RunKey = {
  readonly tenant_id: string;
  readonly source_type: SubjectType;
  readonly source_id: string;
  readonly pipeline: string;
};

/** A run that somebody wants. */
export type RunRequest = RunKey & {
  readonly source_version: number;
  readonly priority: number;
  readonly max_attempts: number;
  readonly cause_event?: number;
  readonly parent_run_id?: string;
  readonly reingest_id?: string;
  /** Is the graph to run even where nothing has changed? Defaults to no. */
  readonly force?: boolean;
};

/** A run that this worker holds: whoever does not name its token can neither renew, save nor finish it. */
export const ClaimedRun = z.object({
  tenant_id: z.guid(),
  id: z.guid(),
  source_type: SubjectType,
  source_id: z.guid(),
  source_version: z.int(),
  pipeline: z.string(),
  priority: z.int(),
  /** The reingest that it is a part of; the runs that follow from it are too. */
  reingest_id: z.guid().nullable(),
  force: z.boolean(),
  /** Is there a budget that covers it? Then its calls are noted as they end, and each asks before. */
  budgeted: z.boolean(),
  attempt: z.int(),
  max_attempts: z.int(),
  lease_token: z.guid(),
  /** Was it claimed before? Then there may be checkpoints to go on from. */
  claimed_before: z.boolean(),
  /** How often it failed so far, up to twenty, attempts that did not count among them. */
  failures: z.int(),
  /** In how many milliseconds its reingest may start the next one; null where that is soon, or at any time. */
  paced_ms: z.number().nullable(),
});
export type ClaimedRun = z.infer<typeof ClaimedRun>;

/** What names an attempt to the ledger. */
export type Lease = Pick<ClaimedRun, "tenant_id" | "id" | "lease_token">;

const count = z.coerce.number();

/** A run as people read it. */
export const Run = z.object({
  tenant_id: z.guid(),
  id: z.guid(),
  source_type: SubjectType,
  source_id: z.guid(),
  source_version: z.int(),
  pipeline: z.string(),
  status: Status,
  outcome: RunOutcome.nullable(),
  priority: z.int(),
  run_after: z.date(),
  attempt: z.int(),
  max_attempts: z.int(),
  worker: z.string().nullable(),
  pipeline_version: z.int().nullable(),
  model: z.string().nullable(),
  error_code: z.string().nullable(),
  error_message: z.string().nullable(),
  /** What it waits to be told, where it is waiting: the first of its questions. */
  question: z.unknown(),
  waiting_since: z.date().nullable(),
  errors: z.array(z.object({ attempt: z.int(), at: z.string(), code: z.string(), message: z.string() })),
  model_calls: count,
  embedding_calls: count,
  tokens_in: count,
  tokens_cached: count,
  tokens_out: count,
  embedding_tokens: count,
  vectors_reused: count,
  cost_usd: count,
  cause_event: z.coerce.number().nullable(),
  parent_run_id: z.guid().nullable(),
  reingest_id: z.guid().nullable(),
  force: z.boolean(),
  created_at: z.date(),
  started_at: z.date().nullable(),
  finished_at: z.date().nullable(),
}) satisfies z.ZodType<Usage>;
export type Run = z.infer<typeof Run>;

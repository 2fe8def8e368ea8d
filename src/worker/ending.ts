import { type ErrorCode, errorCodes, LoregraphError, messageOf } from "../errors.ts";
import type { NewQuestion } from "../ledger/questions.ts";
import type { ClaimedRun } from "../ledger/run.ts";
import { classifyModelError } from "../models/errors.ts";
import type { Stamp } from "../pipeline.ts";

/** How an attempt ended, a graph's or a delivery's. */
export type Ending = GraphEnding | { readonly kind: "delivered"; readonly events: number };

/** How an attempt at a graph ended. The commit acts on `kind` and on nothing else. */
export type GraphEnding =
  | { readonly kind: "answered"; readonly answer: Record<string, unknown>; readonly stamp: Stamp }
  | { readonly kind: "duplicate"; readonly stamp: Stamp }
  | { readonly kind: "waiting"; readonly questions: readonly NewQuestion[] }
  | { readonly kind: "retry"; readonly error: LoregraphError; readonly counts: boolean }
  | { readonly kind: "hopeless"; readonly error: LoregraphError }
  | { readonly kind: "cancelled"; readonly reason: string }
  | { readonly kind: "released" }
  | { readonly kind: "lost" };

/** How an attempt ended, for people: where its run has no attempt left, it is a dead letter. */
export function endedAs(
  { attempt, max_attempts }: Pick<ClaimedRun, "attempt" | "max_attempts">,
  ending: Ending,
): string {
  if (ending.kind === "duplicate") return "unchanged";
  const spent = ending.kind === "retry" && ending.counts && attempt + 1 >= max_attempts;
  return spent || ending.kind === "hopeless" ? "dead_letter" : ending.kind;
}

/** Why a running attempt is told to stop. */
export class Stop extends Error {
  readonly why: "cancelled" | "drained" | "lease lost" | "timed out";

  constructor(why: Stop["why"]) {
    super(`the attempt was stopped: ${why}`);
    this.why = why;
  }
}

/** The ending that an error means, once it is known whether the attempt was told to stop. */
export function endingOf(error: unknown, signal: AbortSignal): GraphEnding {
  if (signal.aborted && signal.reason instanceof Stop) return endingOfStop(signal.reason, error);
  const known = asLoregraphError(error);
  if (known.code === "LEASE_LOST") return { kind: "lost" };
  if (!errorCodes[known.code].retry) return { kind: "hopeless", error: known };
  return { kind: "retry", error: known, counts: !costsNoAttempt.includes(known.code) };
}

/** Waiting for a provider, for money or for the database is nobody's failure. */
const costsNoAttempt: readonly ErrorCode[] = [
  "RATE_LIMITED",
  "BUDGET_SPENT",
  "MODEL_UNREACHABLE",
  "DATABASE_UNAVAILABLE",
];

function endingOfStop({ why }: Stop, error: unknown): GraphEnding {
  switch (why) {
    case "cancelled":
      return { kind: "cancelled", reason: "cancelled on request" };
    case "drained":
      return { kind: "released" };
    case "lease lost":
      return { kind: "lost" };
    case "timed out":
      return { kind: "retry", error: timeOutIn(error), counts: true };
  }
}

/** Where the graph was told to stop, its error names the node that had not ended. */
function timeOutIn(error: unknown): LoregraphError {
  if (error instanceof LoregraphError && error.code === "ATTEMPT_TIMEOUT") return error;
  return new LoregraphError("ATTEMPT_TIMEOUT", "the graph did not end within its pipeline's timeout");
}

function asLoregraphError(error: unknown): LoregraphError {
  const known = classifyModelError(error);
  if (known) return known;
  return new LoregraphError("GRAPH_FAILED", messageOf(error), { cause: error });
}

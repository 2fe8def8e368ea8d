import { z } from "zod";
import { LoregraphError } from "../errors.ts";

export const Status = z.enum(["pending", "running", "waiting", "success", "failed", "cancelled"]);
export type Status = z.infer<typeof Status>;

/** How a successful run ended. */
export const RunOutcome = z.enum(["completed", "skipped", "duplicate_skipped", "eval_rejected"]);
export type RunOutcome = z.infer<typeof RunOutcome>;

/** Which status may follow which. The trigger `legal_transition` holds the same table in SQL. */
export const transitions = {
  pending: ["running", "cancelled"],
  running: ["success", "failed", "pending", "waiting", "cancelled"],
  waiting: ["pending", "cancelled"],
  failed: ["pending"],
  success: [],
  cancelled: [],
} as const satisfies Record<Status, readonly Status[]>;

/** Throws STATE_TRANSITION, naming both states, unless `to` may follow `from`. */
export function assertTransition(from: Status, to: Status): void {
  const legal: readonly Status[] = transitions[from];
  if (legal.includes(to)) return;
  const others = legal.join(", ") || "nothing: it has ended";
  throw new LoregraphError(
    "STATE_TRANSITION",
    `a run cannot go from ${from} to ${to}; from ${from} it may go to ${others}`,
  );
}

import { z } from "zod";
import { LoregraphError } from "../errors.ts";

export const ReingestStatus = z.enum(["planned", "running", "paused", "completed", "failed", "cancelled"]);
export type ReingestStatus = z.infer<typeof ReingestStatus>;

/** Which status may follow which. The trigger `legal_transition` on `reingests` holds the same table in SQL. */
export const reingestTransitions = {
  planned: ["running", "paused", "failed", "cancelled"],
  running: ["paused", "completed", "failed", "cancelled"],
  paused: ["running", "cancelled"],
  completed: [],
  failed: [],
  cancelled: [],
} as const satisfies Record<ReingestStatus, readonly ReingestStatus[]>;

/** Has it ended for good? */
export function hasEnded(status: ReingestStatus): boolean {
  return reingestTransitions[status].length === 0;
}

/** Throws STATE_TRANSITION, naming both states, unless `to` may follow `from`. */
export function assertReingestTransition(from: ReingestStatus, to: ReingestStatus): void {
  const legal: readonly ReingestStatus[] = reingestTransitions[from];
  if (!legal.includes(to)) throw illegalTransition(from, to);
}

export function illegalTransition(from: ReingestStatus, to: ReingestStatus): LoregraphError {
  const others = reingestTransitions[from].join(", ") || "nothing: it has ended";
  return new LoregraphError(
    "STATE_TRANSITION",
    `a reingest cannot go from ${from} to ${to}; from ${from} it may go to ${others}`,
  );
}

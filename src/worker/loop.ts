import { pause } from "../pause.ts";
import type { Log } from "../telemetry/log.ts";

export type Loop = {
  /** What it does, in the past tense: where that fails, `<what>-failed` is logged. */
  readonly what: string;
  readonly everyMs: number;
  readonly log: Log;
  readonly signal: AbortSignal;
};

/** Does `work` again and again until the signal fires, whether it fails or not. */
export async function keepDoing(
  { what, everyMs, log, signal }: Loop,
  work: () => Promise<unknown>,
): Promise<void> {
  while (!signal.aborted) {
    await safely(log, what, work);
    await pause(everyMs, signal);
  }
}

/** What fails here fails again or heals by itself: it is logged, and the worker goes on. */
export async function safely(log: Log, what: string, work: () => Promise<unknown>): Promise<void> {
  try {
    await work();
  } catch (error) {
    log.error({ kind: kindOf(error) }, `${what}-failed`);
  }
}

/** What may be logged of any thrown value: its name and code, never its message. */
export function kindOf(error: unknown): string {
  if (!(error instanceof Error)) return typeof error;
  return "code" in error ? `${error.name} ${String(error.code)}` : error.name;
}

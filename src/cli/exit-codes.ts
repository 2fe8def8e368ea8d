import { type ErrorCode, LoregraphError } from "../errors.ts";

/** What a command's exit code tells. `docs/cli.md` gives the same table. */
export const exitCodes = {
  ok: 0,
  failed: 1,
  wrongUse: 2,
  inPart: 3,
  noDatabase: 4,
  interrupted: 130,
} as const;

const wrongUse: readonly ErrorCode[] = [
  "INPUT_INVALID",
  "INPUT_TOO_LARGE",
  "FILE_UNREADABLE",
  "NOT_FOUND",
  "STATE_TRANSITION",
  "LIMIT_REACHED",
  "IDEMPOTENCY_CONFLICT",
  "CONFIG_INVALID",
  "REGISTRY_INVALID",
  "PIPELINE_INVALID",
  "TAPE_INCOMPLETE",
];

const noDatabase: readonly ErrorCode[] = ["DATABASE_UNAVAILABLE", "EMBEDDED_POSTGRES", "MIGRATION_FAILED"];

/** The process was asked to end before its work was done. */
export class Interrupted extends Error {
  constructor() {
    super("interrupted; the same command goes on from here");
  }
}

export function exitCodeOf(error: unknown): number {
  if (error instanceof Interrupted) return exitCodes.interrupted;
  if (!(error instanceof LoregraphError)) return exitCodes.failed;
  if (wrongUse.includes(error.code)) return exitCodes.wrongUse;
  return noDatabase.includes(error.code) ? exitCodes.noDatabase : exitCodes.failed;
}

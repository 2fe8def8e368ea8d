import { AsyncLocalStorage } from "node:async_hooks";
import pino from "pino";

export type Log = pino.Logger;

/** The ids that every line of a run's work bears. */
export type RunIds = {
  readonly tenant: string;
  readonly run: string;
  readonly attempt: number;
  readonly pipeline: string;
};

const current = new AsyncLocalStorage<RunIds>();

/** Does `work` with `ids` on every line that it logs, however deep. */
export function withRunIds<Result>(ids: RunIds, work: () => Promise<Result>): Promise<Result> {
  return current.run(ids, work);
}

/**
 * A log of JSON lines on stderr, so that stdout is a command's answer alone. Errors are logged as code and kind
 * without their messages, which may quote an entity; the ledger keeps those.
 */
export function openLog(
  level: string,
  destination: pino.DestinationStream = pino.destination({ dest: 2, sync: true }),
): Log {
  return pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      mixin: () => current.getStore() ?? {},
      redact: ["apiKey", "*.apiKey", "databaseUrl", "*.databaseUrl", "text", "*.text"],
    },
    destination,
  );
}

import { setTimeout as delay } from "node:timers/promises";
import { isConnectionError, orUnavailable } from "../src/db.ts";

/**
 * A lost connection must not end a graph that may be waiting for a costly answer: five tries, with three seconds
 * of waiting between them, and then DATABASE_UNAVAILABLE.
 */
export async function insisting<Value>(work: () => Promise<Value>): Promise<Value> {
  for (let tries = 1; ; tries++) {
    try {
      return await work();
    } catch (error) {
      if (!isConnectionError(error)) throw error;
      if (tries === 5) return await orUnavailable(() => Promise.reject(error));
      await delay(100 * 2 ** tries);
    }
  }
}

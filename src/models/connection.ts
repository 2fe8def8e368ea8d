import type { ModelSettings } from "../config.ts";

/** How both clients reach the server. They try once: the ledger alone decides about retries. */
type Connection = {
  readonly apiKey: string;
  readonly baseURL: string;
  /** The longest that there is: a call may wait for its turn, and `network` bounds what comes after. */
  readonly timeout: number;
  readonly maxRetries: 0;
  readonly logLevel: "off";
};

/** Longer, and a timer fires at once. */
const longestTimer = 2 ** 31 - 1;

/** How to reach the configured server, or undefined where neither a key nor a base URL is set. */
export function connection({ apiKey, baseUrl }: ModelSettings): Connection | undefined {
  if (apiKey === undefined && baseUrl === undefined) return undefined;
  return {
    // Named even where they are the client's defaults: it would look in the environment for what is missing.
    apiKey: apiKey ?? "none",
    baseURL: baseUrl ?? "https://api.openai.com/v1",
    timeout: longestTimer,
    maxRetries: 0,
    // The client's debug log prints prompts.
    logLevel: "off",
  };
}

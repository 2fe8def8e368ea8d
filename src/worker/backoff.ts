import type { Retries } from "../pipeline.ts";

/**
 * How long to wait before the attempt after `attempt`, in milliseconds: exponential, with full jitter over its upper
 * half, so that runs that failed together do not come back together.
 * Source: M. Brooker, "Exponential Backoff and Jitter" (2015), the "equal jitter" form.
 */
export function backoff(
  { base, most }: Retries,
  attempt: number,
  random: () => number = Math.random,
): number {
  const ceiling = Math.min(most, base * 2 ** Math.max(0, attempt - 1));
  return Math.round(ceiling * (0.5 + random() / 2));
}

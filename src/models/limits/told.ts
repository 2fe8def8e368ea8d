import { z } from "zod";

/** What a provider's headers tell of one of its limits. */
export type Told = { readonly perSecond: number; readonly isNear: boolean };

/**
 * How fast a limit fills up again, by OpenAI's headers `x-ratelimit-limit-…`, `-remaining-…` and `-reset-…`: what was
 * used, over the time until nothing of it counts any more; so it holds for limits of any period. It is near once less
 * than half is left. Undefined where nothing is told, or nothing was used.
 */
export function toldLimit(headers: Headers, of: "requests" | "tokens"): Told | undefined {
  const limit = amount(headers.get(`x-ratelimit-limit-${of}`));
  const left = amount(headers.get(`x-ratelimit-remaining-${of}`));
  const seconds = duration(headers.get(`x-ratelimit-reset-${of}`));
  if (limit === undefined || left === undefined || !seconds || left >= limit) return undefined;
  return { perSecond: (limit - left) / seconds, isNear: left < limit / 2 };
}

const Amount = z.coerce.number().nonnegative();

function amount(header: string | null): number | undefined {
  return header === null ? undefined : Amount.safeParse(header).data;
}

const units: Readonly<Record<string, number>> = { ms: 0.001, s: 1, m: 60, h: 3_600, d: 86_400 };

/** Seconds of a duration as Go writes it: `1s`, `6m0s`, `120ms`, `1h2m3.5s`. */
function duration(header: string | null): number | undefined {
  if (header === null || !/^(\d+(\.\d+)?(ms|s|m|h|d))+$/.test(header)) return undefined;
  const parts = header.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g);
  return [...parts].reduce((sum, [, number, unit = ""]) => sum + Number(number) * (units[unit] ?? 0), 0);
}

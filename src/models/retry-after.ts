const seconds = 1_000;
const longest = 3_600 * seconds;

/** How long the server says to wait, in milliseconds, at most an hour. Retry-After is in seconds or a date. */
export function retryAfterMs(headers: Headers | undefined): number | undefined {
  const wait = number(headers?.get("retry-after-ms")) ?? delay(headers?.get("retry-after"));
  return wait === undefined ? undefined : Math.min(Math.max(wait, 0), longest);
}

function delay(header: string | null | undefined): number | undefined {
  const given = number(header);
  if (given !== undefined) return given * seconds;
  const date = Date.parse(header ?? "");
  return Number.isNaN(date) ? undefined : date - Date.now();
}

function number(header: string | null | undefined): number | undefined {
  return header && /^\d+(\.\d+)?$/.test(header.trim()) ? Number(header) : undefined;
}

/** OpenAI answers 429 to a single request that exceeds the account's tokens a minute, too: it helps nothing to wait. */
export function isTooLarge(message: string): boolean {
  return /request too large/i.test(message);
}

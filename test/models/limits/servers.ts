/** A model server as its limit is: what a call at this second is told, seconds to wait, or nothing where it is let through. */
export type Limiter = (at: number) => number | undefined;

/** At most so many calls in each window; the first opens at the first call. */
export function fixedWindow(limit: number, seconds = 60): Limiter {
  let opened: number | undefined;
  let calls = 0;
  return (at) => {
    opened ??= at;
    const passed = Math.floor((at - opened) / seconds);
    if (passed > 0) [opened, calls] = [opened + passed * seconds, 0];
    if (calls >= limit) return wholeSeconds(opened + seconds - at);
    calls++;
    return undefined;
  };
}

/** At most so many calls in any stretch of so many seconds. */
export function slidingWindow(limit: number, seconds = 60): Limiter {
  const calls: number[] = [];
  return (at) => {
    while (calls[0] !== undefined && calls[0] <= at - seconds) calls.shift();
    if (calls[0] !== undefined && calls.length >= limit) return wholeSeconds(calls[0] + seconds - at);
    calls.push(at);
    return undefined;
  };
}

/** A bucket that is refilled evenly, so many calls in so many seconds. */
export function bucket(limit: number, capacity = limit, seconds = 60): Limiter {
  let [level, since] = [capacity, 0];
  return (at) => {
    level = Math.min(capacity, level + ((at - since) * limit) / seconds);
    since = at;
    if (level < 1) return wholeSeconds(((1 - level) * seconds) / limit);
    level -= 1;
    return undefined;
  };
}

/** As Retry-After says it. */
function wholeSeconds(seconds: number): number {
  return Math.max(1, Math.ceil(seconds));
}

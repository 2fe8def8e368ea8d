/** Runs work as soon as one of so many slots is free, first come, first served. */
type Slots = <T>(work: () => Promise<T>) => Promise<T>;

/** At most `count` pieces of work at a time: LangGraph starts every `Send` of a step at once. */
export function atMost(count: number): Slots {
  const waiting: (() => void)[] = [];
  let free = count;
  return async (work) => {
    if (free > 0) free -= 1;
    else await new Promise<void>((enter) => waiting.push(enter));
    try {
      return await work();
    } finally {
      const next = waiting.shift();
      if (next) next();
      else free += 1;
    }
  };
}

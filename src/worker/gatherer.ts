/** Something that was asked for, and how it is answered. */
export type Asked<Item, Result> = {
  readonly item: Item;
  readonly answer: (result: Result) => void;
  readonly refuse: (error: unknown) => void;
};

export type Gathering<Item, Result> = {
  /** Answers or refuses each. What it leaves open when it throws is refused with that; when it ends it may answer later. */
  readonly work: (asked: readonly Asked<Item, Result>[]) => Promise<void>;
  /** The most items to a group. */
  readonly most: number;
  /** How many groups may be under way. */
  readonly flights: number;
  /** What an item adds to its group's weight. Defaults to nothing. */
  readonly weigh?: (item: Item) => number;
  /** What a group of more than one may weigh. Defaults to anything. */
  readonly heaviest?: number;
};

/** Work that finds the results of all items at once, in their order. */
export function answering<Item, Result>(
  find: (items: readonly Item[]) => Promise<readonly Result[]>,
): Gathering<Item, Result>["work"] {
  return async (asked) => {
    const results = await find(asked.map(({ item }) => item));
    for (const [nth, result] of results.entries()) asked[nth]?.answer(result);
  };
}

/**
 * Does again each half of what `work` fails at, so that what is at fault is refused alone. An error that `failsAll` tells
 * of would meet the halves too: then all are refused.
 */
export function halving<Item, Result>(
  work: Gathering<Item, Result>["work"],
  failsAll: (error: unknown) => boolean,
): Gathering<Item, Result>["work"] {
  return async function halve(asked) {
    try {
      await work(asked);
    } catch (error) {
      if (asked.length === 1 || failsAll(error)) {
        for (const { refuse } of asked) refuse(error);
        return;
      }
      const middle = asked.length >> 1;
      await halve(asked.slice(0, middle));
      await halve(asked.slice(middle));
    }
  };
}

/**
 * Gathers what is asked for at one moment, and while earlier groups are under way, and does it together: alone, an item
 * waits for nothing; in a rush, one statement serves many.
 */
export class Gatherer<Item, Result> {
  readonly #gathering: Gathering<Item, Result>;
  readonly #waiting: Asked<Item, Result>[] = [];
  #flying = 0;
  #leaving = false;

  constructor(gathering: Gathering<Item, Result>) {
    this.#gathering = gathering;
  }

  /** Does one item, together with others. Rejects with what it, or its group, was refused with. */
  async do(item: Item): Promise<Result> {
    const { promise, resolve: answer, reject: refuse } = Promise.withResolvers<Result>();
    this.#waiting.push({ item, answer, refuse });
    this.#leaveSoon();
    return await promise;
  }

  /** Not at once: what else is asked for in this turn of the event loop comes along. */
  #leaveSoon(): void {
    if (this.#leaving || this.#waiting.length === 0 || this.#flying >= this.#gathering.flights) return;
    this.#leaving = true;
    setImmediate(() => {
      this.#leaving = false;
      void this.#fly(this.#nextGroup());
      this.#leaveSoon();
    });
  }

  async #fly(group: readonly Asked<Item, Result>[]): Promise<void> {
    this.#flying++;
    try {
      await this.#gathering.work(group);
    } catch (error) {
      for (const { refuse } of group) refuse(error);
    } finally {
      this.#flying--;
      this.#leaveSoon();
    }
  }

  #nextGroup(): readonly Asked<Item, Result>[] {
    const { most, weigh = () => 0, heaviest = Number.POSITIVE_INFINITY } = this.#gathering;
    let [size, weight] = [0, 0];
    for (const { item } of this.#waiting.slice(0, most)) {
      weight += weigh(item);
      if (size > 0 && weight > heaviest) break;
      size++;
    }
    return this.#waiting.splice(0, size);
  }
}

import { expect, test } from "vitest";
import { answering, Gatherer, type Gathering, halving } from "../../src/worker/gatherer.ts";
import { gate } from "../support/runtime.ts";

/** Gathers numbers, and notes its groups. */
function numbers(given: Partial<Gathering<number, number>> = {}) {
  const groups: (readonly number[])[] = [];
  const gatherer = new Gatherer<number, number>({
    most: 100,
    flights: 1,
    async work(asked) {
      groups.push(asked.map(({ item }) => item));
      for (const { item, answer } of asked) answer(item * 2);
    },
    ...given,
  });
  return { groups, gatherer };
}

test("does together what is asked for in one turn, and answers each its own", async () => {
  const { groups, gatherer } = numbers();

  expect(await Promise.all([1, 2, 3].map((n) => gatherer.do(n)))).toEqual([2, 4, 6]);
  expect(groups).toEqual([[1, 2, 3]]);
});

test("gathers while a group is under way, and takes no more than a group may hold", async () => {
  const here = gate();
  const groups: (readonly number[])[] = [];
  const { gatherer } = numbers({
    most: 2,
    async work(asked) {
      groups.push(asked.map(({ item }) => item));
      await here.pass();
      for (const { item, answer } of asked) answer(item);
    },
  });
  const first = gatherer.do(1);
  await here.reached;
  const rest = Promise.all([2, 3, 4].map((n) => gatherer.do(n)));
  here.open();

  expect(await first).toBe(1);
  expect(await rest).toEqual([2, 3, 4]);
  expect(groups).toEqual([[1], [2, 3], [4]]);
});

test("has as many groups under way as it may, and no more", async () => {
  const here = gate();
  let [flying, most] = [0, 0];
  const { gatherer } = numbers({
    most: 1,
    flights: 2,
    async work(asked) {
      most = Math.max(most, ++flying);
      if (flying === 2) here.open();
      await here.pass();
      for (const { item, answer } of asked) answer(item);
      flying--;
    },
  });

  expect(await Promise.all([1, 2, 3, 4, 5].map((n) => gatherer.do(n)))).toEqual([1, 2, 3, 4, 5]);
  expect(most).toBe(2);
});

test("fills a group up to its weight, and lets what is heavier go alone", async () => {
  const { groups, gatherer } = numbers({ weigh: (n) => n, heaviest: 10 });
  await Promise.all([6, 4, 3, 50, 1].map((n) => gatherer.do(n)));

  expect(groups).toEqual([[6, 4], [3], [50], [1]]);
});

test("refuses with its error what a group that failed left open, and does the next", async () => {
  const { gatherer } = numbers({
    async work(asked) {
      for (const { item, answer } of asked) {
        if (item === 13) throw new Error("unlucky");
        answer(item);
      }
    },
  });
  const done = await Promise.allSettled([1, 13, 3].map((n) => gatherer.do(n)));

  expect(done.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "rejected"]);
  expect(await gatherer.do(4)).toBe(4);
});

test("of a group that is done in halves, only the item at fault is refused", async () => {
  const { gatherer } = numbers({
    work: halving(
      answering(async (items) => {
        if (items.includes(13)) throw new Error("unlucky");
        return items;
      }),
      () => false,
    ),
  });
  const done = await Promise.allSettled([1, 2, 13, 4, 5].map((n) => gatherer.do(n)));

  expect(done.map(({ status }) => status)).toEqual([
    "fulfilled",
    "fulfilled",
    "rejected",
    "fulfilled",
    "fulfilled",
  ]);
});

test("what fails all items of a group is not tried with fewer of them", async () => {
  let tries = 0;
  const { gatherer } = numbers({
    work: halving(
      async () => {
        tries++;
        throw new Error("away");
      },
      () => true,
    ),
  });
  const done = await Promise.allSettled([1, 2, 3].map((n) => gatherer.do(n)));

  expect(done.map(({ status }) => status)).toEqual(["rejected", "rejected", "rejected"]);
  expect(tries).toBe(1);
});

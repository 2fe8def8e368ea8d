import { randomUUID } from "node:crypto";
import { beforeAll, describe, expect, test } from "vitest";
import {
  listModelStates,
  noteRefusal,
  type Turns,
  type TurnsAsked,
  takeTurns,
} from "../../../src/models/limits/turns.ts";
import { type TestDatabase, testDatabase } from "../../support/database.ts";
import { bucket, fixedWindow, slidingWindow } from "./servers.ts";
import { simulate } from "./simulation.ts";

let database: TestDatabase;

beforeAll(async () => {
  database = await testDatabase();
});

describe("ten processes at a server that allows 600 calls a minute", () => {
  test("use it up and are refused nothing where they know", async () => {
    const { answered, refused, statements } = await simulate(database.pool, {
      server: slidingWindow(600),
      limit: 600,
      minutes: 2,
    });

    expect(refused).toEqual([]);
    expect(answered.length).toBeGreaterThan(0.97 * 1_200);
    expect(mostInAMinute(answered)).toBeLessThanOrEqual(600);
    expect(statements).toBeLessThan(3 * answered.length);
  });

  test.each([
    ["in fixed windows", fixedWindow(600)],
    ["in any minute", slidingWindow(600)],
    ["by a bucket", bucket(600)],
    ["without any burst", bucket(600, 10)],
  ])("find it out by themselves within a minute: %s", async (_, server) => {
    const { answered, refused } = await simulate(database.pool, { server, minutes: 3 });
    const later = (calls: readonly number[]) => calls.filter((at) => at >= 60).length;

    expect(later(answered)).toBeGreaterThan(0.95 * 1_200);
    expect(later(refused) / (later(answered) + later(refused))).toBeLessThan(0.01);
  });
});

/** A process at a clock that the test sets, in seconds. */
function processOf(model: string, defaults: Partial<TurnsAsked> = {}) {
  const process = randomUUID();
  return async (second: number, asked: Partial<TurnsAsked> & { calls?: number } = {}): Promise<Turns> => {
    const { calls = 1, ...more } = asked;
    return await takeTurns(database.pool, {
      ...{ provider: "test", model, process, wanted: Array.from({ length: calls }, () => 0), inFlight: 0 },
      ...{ answered: 0, failed: 0, overloaded: 0, tokensMore: 0 },
      ...{ requests: undefined, tokens: undefined, concurrency: undefined, horizonMs: 1_000, probeMs: 5_000 },
      ...{ ...defaults, ...more, now: at(second) },
    });
  };
}

const at = (second: number) => new Date(Date.UTC(2026, 0, 1) + second * 1_000);

const refused = (model: string, second: number, more: Partial<Parameters<typeof noteRefusal>[1]> = {}) =>
  noteRefusal(database.pool, {
    ...{ provider: "test", model, ageMs: 100, waitMs: 30_000, slows: true, requests: undefined },
    ...{ now: at(second), ...more },
  });

describe("turns", () => {
  test("are not limited where nothing is known", async () => {
    const ask = processOf(randomUUID());

    expect(await ask(0, { calls: 100 })).toMatchObject({
      turns_ms: Array(100).fill(0),
      why: null,
      pace: null,
    });
  });

  test("are spread evenly over time, across processes, no further ahead than the horizon", async () => {
    const model = randomUUID();
    const [one, other] = [processOf(model, { requests: 4 }), processOf(model, { requests: 4 })];

    expect(await one(0, { calls: 3 })).toMatchObject({ turns_ms: [0, 250, 500], why: null });
    expect(await other(0, { calls: 3 })).toMatchObject({ turns_ms: [750, 1_000], why: "rate" });
    expect((await one(1, { calls: 3 })).turns_ms).toEqual([250, 500]);
  });

  test("are not saved up by an idle minute", async () => {
    const ask = processOf(randomUUID(), { requests: 2 });
    await ask(0);

    expect((await ask(60, { calls: 9 })).turns_ms).toEqual([0, 500]);
  });

  test("come as quickly as tokens allow, and what was guessed wrongly is made good", async () => {
    const ask = processOf(randomUUID(), { tokens: 100 });

    expect((await ask(0, { wanted: [40, 40, 40] })).turns_ms).toEqual([0, 400, 800]);
    expect((await ask(1, { wanted: [10], tokensMore: -20 })).turns_ms).toEqual([0]);
    expect((await ask(1, { wanted: [10], tokensMore: 50 })).turns_ms).toEqual([600]);
  });

  test("are no more than may be under way at once in all processes that are alive", async () => {
    const model = randomUUID();
    const [one, other] = [processOf(model, { concurrency: 3 }), processOf(model, { concurrency: 3 })];

    expect((await one(0, { calls: 2 })).turns_ms).toHaveLength(2);
    expect(await other(0, { calls: 2 })).toMatchObject({ turns_ms: [0], why: "concurrency" });
    expect((await other(1, { calls: 2, inFlight: 1 })).turns_ms).toEqual([]);
    expect((await other(6, { calls: 5, inFlight: 1 })).turns_ms).toHaveLength(2);
  });
});

describe("a refusal", () => {
  test("keeps all processes from asking until the provider said to come back", async () => {
    const model = randomUUID();
    const [one, other] = [processOf(model), processOf(model)];
    await one(0);
    await refused(model, 0.1);

    expect(await other(1)).toMatchObject({ turns_ms: [], why: "wait", paused_ms: 29_100 });
    expect((await other(29.5)).turns_ms).toEqual([600]);
  });

  test("slows them once, however many calls were under way", async () => {
    const model = randomUUID();
    const ask = processOf(model);
    await ask(0, { calls: 70 });
    for (let nth = 0; nth < 10; nth++) await refused(model, 1 + nth / 100, { waitMs: 59_000 });

    expect((await ask(61)).pace).toBeCloseTo((0.99 * 60) / 60, 1);
  });

  test("that tells of a spent quota slows nobody, and lets nobody ask", async () => {
    const model = randomUUID();
    const ask = processOf(model);
    await refused(model, 0, { slows: false, waitMs: 600_000 });

    expect(await ask(1)).toMatchObject({ turns_ms: [], why: "wait" });
    expect(await ask(600)).toMatchObject({ turns_ms: [0], pace: null });
  });

  test("is forgotten slowly while a rate is used up, and never beyond what is configured", async () => {
    const model = randomUUID();
    const ask = processOf(model, { requests: 10 });
    await ask(0);
    await refused(model, 1, { requests: 10, waitMs: 1_000 });
    const paces: (number | null)[] = [];
    for (let second = 3; second < 400; second++) paces.push((await ask(second, { calls: 50 })).pace);

    expect(paces[0]).toBeCloseTo(7, 0);
    expect(paces.at(-1)).toBe(10);
    expect(paces.every((pace, nth) => nth === 0 || (pace ?? 0) >= (paces[nth - 1] ?? 0))).toBe(true);
  });
});

describe("overload", () => {
  test("halves what may be under way, and answers let it grow again", async () => {
    const ask = processOf(randomUUID());
    await ask(0, { calls: 20 });

    expect(await ask(2, { calls: 20, inFlight: 19, failed: 1, overloaded: 1 })).toMatchObject({
      turns_ms: [],
    });
    expect((await ask(3, { calls: 20, answered: 12 })).turns_ms.length).toBeGreaterThan(10);
    expect((await ask(4, { calls: 1, answered: 1_000 })).turns_ms).toHaveLength(1);
    expect(await ask(5, { calls: 100 })).toMatchObject({ why: null });
  });
});

describe("the breaker", () => {
  test("opens after five failures in a row, whosever they are, and closes by one call that is answered", async () => {
    const model = randomUUID();
    const [one, other] = [processOf(model), processOf(model)];
    await one(0, { failed: 3 });
    expect((await other(1, { failed: 1 })).opened).toBe(false);
    expect(await other(2, { failed: 1 })).toMatchObject({ opened: true, turns_ms: [], why: "open" });

    expect(await one(11)).toMatchObject({ turns_ms: [], why: "open", free_in_ms: 1_000 });
    expect((await one(12, { calls: 5 })).turns_ms).toHaveLength(1);
    expect((await other(13)).turns_ms).toEqual([]);
    await one(14, { calls: 0, answered: 1 });
    expect(await other(15, { calls: 5 })).toMatchObject({ turns_ms: [0, 0, 0, 0, 0], why: null });
  });

  test("stays open for longer each time, five minutes at most", async () => {
    const ask = processOf(randomUUID());
    const waits: number[] = [];
    let second = 0;
    for (let nth = 0; nth < 7; nth++) {
      const { free_in_ms, opened } = await ask(second, { failed: 5 });
      expect(opened).toBe(true);
      waits.push(free_in_ms / 1_000);
      second += free_in_ms / 1_000 + 1;
      await ask(second);
    }

    expect(waits).toEqual([10, 20, 40, 80, 160, 300, 300]);
  });

  test("lets another process try where the one that did has gone", async () => {
    const model = randomUUID();
    const [one, other] = [processOf(model), processOf(model)];
    await one(0, { failed: 5 });
    expect((await one(11)).turns_ms).toHaveLength(1);

    expect((await other(15)).turns_ms).toEqual([]);
    expect((await other(17)).turns_ms).toHaveLength(1);
  });

  test("is seen by whoever looks", async () => {
    const model = randomUUID();
    await processOf(model)(0, { failed: 5 });

    expect(await listModelStates(database.pool)).toContainEqual(
      expect.objectContaining({ provider: "test", model, state: "open", until: at(10), turns: 0 }),
    );
  });
});

function mostInAMinute(calls: readonly number[]): number {
  return Math.max(...calls.map((from) => calls.filter((call) => call >= from && call < from + 60).length));
}

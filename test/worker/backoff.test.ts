import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { backoff } from "../../src/worker/backoff.ts";
import { Bell } from "../../src/worker/bell.ts";

const retries = { attempts: 5, base: 1_000, most: 10_000 };

describe("backoff", () => {
  test("doubles with each attempt, up to the longest wait", () => {
    const waits = [1, 2, 3, 4, 5, 60, 2_000].map((attempt) => backoff(retries, attempt, () => 1));

    expect(waits).toEqual([1_000, 2_000, 4_000, 8_000, 10_000, 10_000, 10_000]);
  });

  test("is spread over the upper half, so that what failed together does not come back together", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 100 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (attempt, random) => {
          const wait = backoff(retries, attempt, () => random);
          const ceiling = backoff(retries, attempt, () => 1);
          expect(wait).toBeGreaterThanOrEqual(ceiling / 2);
          expect(wait).toBeLessThanOrEqual(ceiling);
        },
      ),
    );
  });
});

describe("a bell", () => {
  test("keeps a ring that nobody waited for, and only one", async () => {
    const bell = new Bell();
    bell.ring();
    bell.ring();
    await bell.wait(3_600_000);
    const second = bell.wait(3_600_000);
    expect(await Promise.race([second, new Promise((resolve) => setImmediate(resolve, "quiet"))])).toBe(
      "quiet",
    );

    bell.ring();
    await second;
  });

  test("lets go after a while without a ring", async () => {
    await new Bell().wait(1);
  });

  test("rings in a while", async () => {
    const bell = new Bell();
    bell.ringIn(1);
    await bell.wait(3_600_000);
  });
});

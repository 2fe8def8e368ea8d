import { setTimeout as delay } from "node:timers/promises";
import { expect, test } from "vitest";
import { Timer } from "../../src/worker/timer.ts";

function timer(ms: number) {
  const over = Promise.withResolvers<number>();
  const since = performance.now();
  const made = new Timer(ms, () => over.resolve(performance.now() - since));
  return { made, over: over.promise };
}

test("runs out when its time has passed", async () => {
  expect(await timer(30).over).toBeGreaterThanOrEqual(29);
});

test("stands still while anyone holds it, and then has as much left as before", async () => {
  const { made, over } = timer(100);
  const [one, other] = [made.hold(), made.hold()];
  await delay(150);
  one[Symbol.dispose]();
  one[Symbol.dispose]();
  await delay(100);
  other[Symbol.dispose]();

  expect(await over).toBeGreaterThanOrEqual(345);
});

test("does not run out once it was stopped, whoever held it", async () => {
  const { made, over } = timer(20);
  const hold = made.hold();
  made.stop();
  hold[Symbol.dispose]();

  expect(await Promise.race([over, delay(60, "never")])).toBe("never");
});

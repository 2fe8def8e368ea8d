import { beforeAll, expect, test } from "vitest";
import { Slots } from "../../src/worker/slots.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { claimed } from "../support/ledger.ts";
import { forever } from "../support/runtime.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});

const leaseMs = 60_000;

/** An attempt whose lease was asked for so long ago that it may have run out. */
async function inDoubt() {
  const run = await claimed(database.pool);
  const slots = new Slots(1, () => {}, leaseMs);
  slots.fill(run, forever, performance.now() - 2 * leaseMs);
  const renewedAt = (sentAt: number) => slots.renew(new Set([run.lease_token]), sentAt);
  return { run, slots, renewedAt };
}

test("a renewal that was sent longer ago than a lease holds leaves an attempt in doubt, and the next one does not", async () => {
  const { run, slots, renewedAt } = await inDoubt();
  const sure = slots.sure(run);
  renewedAt(performance.now() - 2 * leaseMs);
  await new Promise(setImmediate);
  renewedAt(performance.now());

  await expect(sure).resolves.toBeUndefined();
});

test("an attempt that is stopped while it is in doubt ends with what stopped it", async () => {
  const { run, slots } = await inDoubt();
  const sure = slots.sure(run);
  slots.stop("cancelled", () => true);

  await expect(sure).rejects.toMatchObject({ why: "cancelled" });
});

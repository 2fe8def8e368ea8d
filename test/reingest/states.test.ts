import { beforeAll, describe, expect, test } from "vitest";
import { assertReingestTransition, ReingestStatus, reingestTransitions } from "../../src/reingest/states.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { type Columns, legalReingest, newReingest } from "../support/reingests.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});

const pairs = ReingestStatus.options.flatMap((from) =>
  ReingestStatus.options.filter((to) => to !== from).map((to) => ({ from, to })),
);

describe("the database allows a reingest a transition exactly when the table in code does", () => {
  test.each(pairs)("from $from to $to", async ({ from, to }) => {
    const { id } = await newReingest(database.pool, legalReingest[from]);
    const refused = await refusal(update(id, { produced_at: new Date(), ...legalReingest[to] }));
    const allowed: readonly ReingestStatus[] = reingestTransitions[from];

    expect(refused).toBe(allowed.includes(to) ? undefined : "legal_transition");
  });
});

test("an illegal transition is an error that names both states and what is legal", () => {
  expect(() => assertReingestTransition("paused", "completed")).toThrow(
    expect.objectContaining({
      code: "STATE_TRANSITION",
      message: "a reingest cannot go from paused to completed; from paused it may go to running, cancelled",
    }),
  );
  expect(() => assertReingestTransition("failed", "running")).toThrow("nothing: it has ended");
  expect(() => assertReingestTransition("paused", "running")).not.toThrow();
});

async function update(id: string, columns: Columns): Promise<void> {
  const sets = Object.keys(columns).map((name, n) => `${name} = $${n + 2}`);
  await database.pool.query(`update reingests set ${sets.join(", ")} where id = $1`, [
    id,
    ...Object.values(columns),
  ]);
}

async function refusal(work: Promise<unknown>): Promise<string | undefined> {
  try {
    await work;
    return undefined;
  } catch (error) {
    if (error instanceof Error && "constraint" in error) return String(error.constraint);
    throw error;
  }
}

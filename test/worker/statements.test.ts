import { randomUUID } from "node:crypto";
import { afterEach, beforeAll, expect, test } from "vitest";
import { openPool } from "../../src/db.ts";
import { acceptEntities } from "../../src/intake.ts";
import { scene } from "../support/content.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { echo } from "../support/pipelines.ts";
import { emptyLedger, runtime, startWorker } from "../support/runtime.ts";
import { type Sent, tapOf } from "../support/tap.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});
afterEach(() => emptyLedger(database));

const enricher = echo(() => ({ said: "x" }));

type Wanted = {
  readonly pipeline: "base" | "echo";
  readonly runs: number;
  /** Has nothing changed since they last ran? */
  readonly unchanged?: boolean;
  /** An eighth of them is claimed at once. */
  readonly slots?: number;
};

/** Lets a worker do runs of one pipeline that are due at one moment, and gives the statements that reach Postgres. */
async function statementsOf({
  pipeline,
  runs,
  unchanged = false,
  slots = 400,
}: Wanted): Promise<readonly Sent[]> {
  const context = runtime(database, enricher);
  const tenant_id = randomUUID();
  const entities = Array.from({ length: runs }, () => scene());
  const take = () =>
    acceptEntities(database.pool, context.registry, { tenant_id, source: "test", entities, again: true });
  await take();
  if (unchanged) await work(database, ["base", "echo"]);
  if (unchanged) await take();
  if (pipeline === "echo") await work(database, ["base"]);

  await using tap = await tapOf(database.url);
  const pool = openPool(tap.url);
  await work({ pool, url: database.url }, [pipeline], slots);
  await pool.end();
  return tap.statements;
}

async function work(on: TestDatabase, pipelines: readonly string[], concurrency = 400): Promise<void> {
  await using worker = startWorker(runtime(on, enricher), on, { pipelines, concurrency, drainMs: 5_000 });
  await worker.untilIdle();
}

const isRead = ({ text }: Sent) => text.includes("as is_stored");
const isStart = ({ text }: Sent) => text.includes("graph_started_at = now()");
const isBegin = ({ text }: Sent) => text.startsWith("begin; set local lock_timeout");

/** How many statements read what runs are about, note that graphs start, and commit how they ended. */
function counted(statements: readonly Sent[]) {
  const inGroup = new Set<number>();
  let commit = 0;
  for (const sent of statements) {
    if (isBegin(sent)) inGroup.add(sent.connection);
    if (inGroup.has(sent.connection)) commit++;
    if (sent.text === "commit") inGroup.delete(sent.connection);
  }
  return { read: statements.filter(isRead).length, start: statements.filter(isStart).length, commit };
}

test.each([
  { pipeline: "base", of: { read: 1, start: 1, commit: 11 } },
  { pipeline: "echo", of: { read: 1, start: 1, commit: 7 } },
  { pipeline: "base", unchanged: true, of: { read: 1, start: 0, commit: 8 } },
  { pipeline: "echo", unchanged: true, of: { read: 1, start: 0, commit: 5 } },
] as const)(
  "one run costs no more than it must: $pipeline, unchanged: $unchanged",
  async ({ of, ...wanted }) => {
    expect(counted(await statementsOf({ ...wanted, runs: 1 }))).toEqual(of);
  },
);

test.each([
  { pipeline: "base", of: { read: 1, start: 0, commit: 8 } },
  { pipeline: "echo", of: { read: 1, start: 0, commit: 5 } },
] as const)(
  "fifty unchanged runs of $pipeline cost as much as one",
  {
    timeout: 60_000,
  },
  async ({ of, pipeline }) => {
    expect(counted(await statementsOf({ pipeline, unchanged: true, runs: 50 }))).toEqual(of);
  },
);

test.each(["base", "echo"] as const)(
  "fifty runs of %s are read and started together",
  {
    timeout: 60_000,
  },
  async (pipeline) => {
    expect(counted(await statementsOf({ pipeline, runs: 50 }))).toMatchObject({ read: 1, start: 1 });
  },
);

test("runs that wait for the same slots do not all begin at one moment", async () => {
  const { read } = counted(await statementsOf({ pipeline: "base", runs: 48, slots: 48 }));
  expect(read).toBeGreaterThan(1);
});

import { randomUUID } from "node:crypto";
import fc from "fast-check";
import pg from "pg";
import { beforeAll, expect, test } from "vitest";
import { type Db, transaction } from "../../src/db.ts";
import { failAttempt } from "../../src/ledger/attempt.ts";
import { enqueueRuns } from "../../src/ledger/enqueue.ts";
import { listRuns } from "../../src/ledger/read.ts";
import type { RunRequest } from "../../src/ledger/run.ts";
import { noUsage } from "../../src/pipeline.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { again, claim, claimed, newPipeline, only, request, runOf, started } from "../support/ledger.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});

test("makes a wanted run pending", async () => {
  const wanted = request({ pipeline: newPipeline(), priority: 4, max_attempts: 2 });
  const { id, is_new } = only(await enqueueRuns(database.pool, [wanted]));

  expect(is_new).toBe(true);
  expect(await runOf(database.pool, { id })).toMatchObject({ ...wanted, status: "pending", attempt: 0 });
});

test("does not double a run that is already pending", async () => {
  const wanted = request({ pipeline: newPipeline() });
  const first = only(await enqueueRuns(database.pool, [wanted]));
  const second = only(await enqueueRuns(database.pool, [wanted]));

  expect(second).toEqual({ id: first.id, is_new: false });
});

test("keeps the newest version where one request names a key twice", async () => {
  const wanted = request({ pipeline: newPipeline() });
  const { id } = only(
    await enqueueRuns(database.pool, [
      wanted,
      { ...wanted, source_version: 3 },
      { ...wanted, source_version: 2 },
    ]),
  );

  expect((await runOf(database.pool, { id })).source_version).toBe(3);
});

test("a newer version replaces the input of the pending run, which starts with all its attempts", async () => {
  const run = await started(database.pool);
  await failAttempt(database.pool, run, failure({ retryInMs: 3_600_000 }));
  await enqueueRuns(database.pool, [again(run, { source_version: 2 })]);

  const pending = await runOf(database.pool, run);
  expect(pending).toMatchObject({
    status: "pending",
    source_version: 2,
    attempt: 0,
    error_code: "GRAPH_FAILED",
  });
  expect(only(await claim(database.pool, run.pipeline)).id).toBe(run.id);
});

test("an older or equal version leaves version, attempts and backoff of the pending run as they are", async () => {
  const run = await started(database.pool, { source_version: 5 });
  await failAttempt(database.pool, run, failure({ retryInMs: 3_600_000 }));
  const before = await runOf(database.pool, run);
  await enqueueRuns(database.pool, [again(run, { source_version: 4 }), again(run, { source_version: 5 })]);

  expect(await runOf(database.pool, run)).toEqual(before);
});

test("while a run runs, the next of its key waits, and only one of them", async () => {
  const run = await claimed(database.pool);
  await enqueueRuns(database.pool, [again(run, { source_version: 2 })]);
  await enqueueRuns(database.pool, [again(run, { source_version: 3 })]);

  expect(await claim(database.pool, run.pipeline)).toEqual([]);
  expect(await listRuns(database.pool, { pipeline: run.pipeline })).toMatchObject([
    { status: "pending", source_version: 3 },
    { status: "running", source_version: 1 },
  ]);
});

test("enqueues from many connections leave one pending run of each key, at its newest version", async () => {
  const pipeline = newPipeline();
  const keys = Array.from({ length: 12 }, () => request({ pipeline }));
  const versions = [3, 1, 5, 2, 4, 5, 1, 3];
  await Promise.all(
    versions.map((source_version, nth) => {
      const rotated = [...keys.slice(nth), ...keys.slice(0, nth)];
      return transaction(database.pool, (db) =>
        enqueueRuns(
          db,
          rotated.map((key) => ({ ...key, source_version })),
        ),
      );
    }),
  );

  const runs = await listRuns(database.pool, { pipeline, limit: 100 });
  expect(runs.map(({ status, source_version }) => ({ status, source_version }))).toEqual(
    keys.map(() => ({ status: "pending", source_version: 5 })),
  );
});

test("wakes the workers when its transaction commits, not before", async () => {
  const client = new pg.Client({ connectionString: database.url });
  await client.connect();
  try {
    await client.query("listen loregraph_runs");
    const told = Promise.withResolvers<boolean>();
    let committed = false;
    client.once("notification", () => told.resolve(committed));
    await transaction(database.pool, async (db) => {
      await enqueueRuns(db, [request({ pipeline: newPipeline() })]);
      await client.query("select 1");
      committed = true;
    });

    expect(await told.promise).toBe(true);
  } finally {
    await client.end();
  }
});

test("notes what caused it", async () => {
  const parent_run_id = randomUUID();
  const wanted = request({ pipeline: newPipeline(), cause_event: 7, parent_run_id });
  const { id } = only(await enqueueRuns(database.pool, [wanted]));

  const { rows } = await database.pool.query(
    "select cause_event, parent_run_id from pipeline_runs where id = $1",
    [id],
  );
  expect(rows).toEqual([{ cause_event: "7", parent_run_id }]);
});

function failure(given: { retryInMs: number | null }) {
  return { code: "GRAPH_FAILED", message: "no", counts: true, usage: noUsage, ...given };
}

const Wanted = fc.record({
  key: fc.nat({ max: 2 }),
  source_version: fc.integer({ min: 1, max: 3 }),
  priority: fc.nat({ max: 2 }),
  force: fc.boolean(),
  reingest: fc.option(fc.nat({ max: 1 })),
  cause_event: fc.nat({ max: 9 }),
});

test("makes of what several want at once what one after the other would have made of it", async () => {
  const columns = "source_id, source_version, priority, force, reingest_id, cause_event, max_attempts";
  const reingests = [randomUUID(), randomUUID()];
  await fc.assert(
    fc.asyncProperty(
      fc.array(Wanted, { minLength: 1, maxLength: 8 }),
      fc.nat({ max: 3 }),
      async (wanted, before) => {
        const keys = [randomUUID(), randomUUID(), randomUUID()];
        const requests = (pipeline: string, tenant_id: string) =>
          wanted.map(({ key, reingest, ...rest }) =>
            request({
              ...{ pipeline, tenant_id, source_id: keys[key] ?? "", ...rest },
              ...(reingest === null ? {} : { reingest_id: reingests[reingest] ?? "" }),
            }),
          );
        const end = async (enqueue: (db: Db, requests: readonly RunRequest[]) => Promise<unknown>) => {
          const [pipeline, tenant_id] = [newPipeline(), randomUUID()];
          await database.pool.query(
            "insert into reingests (tenant_id, id, request, priority, total) select $1, unnest($2::uuid[]), '{}', 0, 0",
            [tenant_id, reingests],
          );
          const all = requests(pipeline, tenant_id);
          for (const one of all.slice(0, before)) await enqueueRuns(database.pool, [one]);
          await enqueue(database.pool, all.slice(before));
          const sql = `select ${columns} from pipeline_runs where pipeline = $1 order by source_id`;
          return (await database.pool.query(sql, [pipeline])).rows;
        };
        const oneByOne = async (db: Db, all: readonly RunRequest[]) => {
          for (const one of all) await enqueueRuns(db, [one]);
        };

        expect(await end(enqueueRuns)).toEqual(await end(oneByOne));
      },
    ),
    { numRuns: 25 },
  );
});

import { setTimeout as pause } from "node:timers/promises";
import { beforeAll, expect, test } from "vitest";
import { reapExpired } from "../../src/ledger/reap.ts";
import { blocking } from "../support/blocked-worker.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { startProcess } from "../support/process.ts";
import { runAbout, runtime, takeScene } from "../support/runtime.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});

test("a graph that blocks every worker's thread costs each an attempt, and is a dead letter that says so", async () => {
  const context = runtime(database, blocking);
  const scene = await takeScene(context);

  for (const _ of ["first", "second"])
    expect(await startProcess("blocked-worker.ts", [database.url]).line()).toBe("blocked");
  while ((await runAbout(context, scene)).status === "running") {
    await reapExpired(database.pool);
    await pause(50);
  }

  expect(await runAbout(context, scene)).toMatchObject({
    status: "failed",
    attempt: 2,
    error_code: "WORKERS_LOST",
    error_message: expect.stringMatching(
      /^its last attempt, 2 of 2, ended as its worker fell silent: the worker /,
    ),
    errors: [{ attempt: 1, code: "LEASE_EXPIRED" }, { attempt: 2 }],
  });
}, 120_000);

import { afterEach, beforeAll, expect, test } from "vitest";
import { claimRuns } from "../../src/ledger/claim.ts";
import { countOpenRuns } from "../../src/ledger/read.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { untilWaiting } from "../support/held.ts";
import { echo } from "../support/pipelines.ts";
import { emptyLedger, gate, runAbout, runtime, startWorker, takeScene } from "../support/runtime.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});
afterEach(() => emptyLedger(database));

test("a slot is filled again as soon as it is free: one slow run does not hold the quick ones up", async () => {
  const slow = gate();
  const quick = Promise.withResolvers<void>();
  let done = 0;
  const context = runtime(
    database,
    echo(async ({ text }) => {
      if (text === "slow") await slow.pass();
      return { said: text };
    }),
  );
  const slowScene = await takeScene(context, { text: "slow" });
  await using first = startWorker(context, database, {
    concurrency: 2,
    onEnded: ({ pipeline }) => {
      if (pipeline === "echo" && ++done === 10) quick.resolve();
    },
  });
  await slow.reached;
  for (let n = 0; n < 10; n++) await takeScene(context, { text: `quick ${n}` });
  await quick.promise;

  expect((await runAbout(context, slowScene)).status).toBe("running");
  slow.open();
  await first.untilDone();
  expect((await runAbout(context, slowScene)).status).toBe("success");
});

test("as many run at a time as there are slots, and no more", async () => {
  const full = Promise.withResolvers<void>();
  let running = 0;
  let most = 0;
  const context = runtime(
    database,
    echo(async () => {
      most = Math.max(most, ++running);
      if (running === 3) full.resolve();
      await full.promise;
      await new Promise(setImmediate);
      running--;
      return { said: "x" };
    }),
  );
  for (let n = 0; n < 12; n++) await takeScene(context);
  await using worker = startWorker(context, database, { concurrency: 3 });
  await worker.untilDone();

  expect(most).toBe(3);
  expect(worker.endings).toHaveLength(24);
});

test("a slot is free for the next graph while how the last one ended waits to be committed", async () => {
  const next = Promise.withResolvers<void>();
  const context = runtime(
    database,
    echo(
      ({ text }) => {
        if (text === "second") next.resolve();
        return { said: text };
      },
      { trigger: { on: "entity.changed" } },
    ),
  );
  const first = await takeScene(context, { text: "first" });
  await using lock = await lockedEntity(first);
  await using worker = startWorker(context, database, { pipelines: ["echo"], concurrency: 1 });
  await takeScene(context, { text: "second" });
  await next.promise;

  expect((await runAbout(context, first)).status).toBe("running");
  await lock[Symbol.asyncDispose]();
  await worker.untilDone();
  expect((await runAbout(context, first)).status).toBe("success");
});

test("no more than as many endings as there are slots wait beside the graphs", async () => {
  const begun: string[] = [];
  const context = runtime(
    database,
    echo(
      ({ text }) => {
        begun.push(text);
        return { said: text };
      },
      { trigger: { on: "entity.changed" } },
    ),
  );
  const scenes = [];
  for (const text of ["1", "2", "3", "4"]) scenes.push(await takeScene(context, { text }));
  const locks = await Promise.all(scenes.map(lockedEntity));
  await using worker = startWorker(context, database, { pipelines: ["echo"], concurrency: 1 });
  await untilWaiting(database.pool, 2);

  expect(begun).toHaveLength(2);
  await Promise.all(locks.map((lock) => lock[Symbol.asyncDispose]()));
  await worker.untilDone();
  expect(begun.toSorted()).toEqual(["1", "2", "3", "4"]);
});

/** An entity that somebody else holds: what is learnt of it cannot be committed until that is over. */
async function lockedEntity({ source_id }: { readonly source_id: string }) {
  const client = await database.pool.connect();
  await client.query("begin");
  await client.query("select from entities where source_id = $1 for update", [source_id]);
  let held = true;
  return {
    async [Symbol.asyncDispose]() {
      if (!held) return;
      held = false;
      await client.query("rollback");
      client.release();
    },
  };
}

test("a worker takes only the pipelines that it is given", async () => {
  const context = runtime(
    database,
    echo(() => ({ said: "x" })),
  );
  const scene = await takeScene(context);
  await using worker = startWorker(context, database, { pipelines: ["base"] });
  await worker.untilDone();

  expect((await runAbout(context, scene, "base")).status).toBe("success");
  expect((await runAbout(context, scene)).status).toBe("pending");
  expect(await countOpenRuns(database.pool, { tenant_id: scene.tenant_id })).toEqual({
    pending: 1,
    running: 0,
    held: 0,
  });
});

test("a notification wakes a worker that would not look again for an hour", async () => {
  const context = runtime(
    database,
    echo(() => ({ said: "x" })),
  );
  const ended = Promise.withResolvers<void>();
  await using worker = startWorker(context, database, {
    pollMs: 3_600_000,
    leaseMs: 3_600_000,
    onEnded: ({ pipeline }) => {
      if (pipeline === "echo") ended.resolve();
    },
  });
  await worker.untilIdle();
  const scene = await takeScene(context);
  await ended.promise;

  expect((await runAbout(context, scene)).status).toBe("success");
});

test("a retry is taken up when it is due, not at the next poll", async () => {
  let calls = 0;
  const ended = Promise.withResolvers<void>();
  const context = runtime(
    database,
    echo(
      () => {
        if (++calls === 1) throw new Error("not yet");
        return { said: "x" };
      },
      { retries: { attempts: 2, base: 20, most: 20 } },
    ),
  );
  await using _worker = startWorker(context, database, {
    pollMs: 3_600_000,
    leaseMs: 3_600_000,
    onEnded: (_, { kind }) => {
      if (kind === "answered" && calls === 2) ended.resolve();
    },
  });
  const scene = await takeScene(context);
  await ended.promise;

  expect(await runAbout(context, scene)).toMatchObject({ status: "success", attempt: 2 });
});

test("whoever reaps wakes a worker that can run what was reaped", async () => {
  const context = runtime(
    database,
    echo(() => ({ said: "x" }), { trigger: { on: "entity.changed" } }),
  );
  const scene = await takeScene(context);
  await claimRuns(database.pool, { worker: "dead", pipelines: ["echo"], limit: 1, leaseMs: 300 });
  const ended = Promise.withResolvers<void>();
  await using _sleeper = startWorker(context, database, {
    pipelines: ["echo"],
    pollMs: 3_600_000,
    leaseMs: 3_600_000,
    onEnded: () => ended.resolve(),
  });
  await using _reaper = startWorker(context, database, { pipelines: ["base"], leaseMs: 400 });
  await ended.promise;

  expect((await runAbout(context, scene)).status).toBe("success");
});

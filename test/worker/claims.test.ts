import { beforeAll, expect, test } from "vitest";
import type { Pool } from "../../src/db.ts";
import type { ClaimedRun } from "../../src/ledger/run.ts";
import { Bell } from "../../src/worker/bell.ts";
import { Claims } from "../../src/worker/claims.ts";
import { Slots } from "../../src/worker/slots.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { echo } from "../support/pipelines.ts";
import { runtime, takeScene } from "../support/runtime.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});

/** The pool, but what it has committed is told only after `meanwhile`, the first time. */
function slowToTell(pool: Pool, meanwhile: () => Promise<void>): Pool {
  let told = false;
  return new Proxy(pool, {
    get: (target, name) => {
      if (name !== "connect") return Reflect.get(target, name, target);
      return async () => {
        const client = await target.connect();
        const query = client.query.bind(client) as (...given: unknown[]) => Promise<unknown>;
        const slow = async (...given: unknown[]) => {
          const result = await query(...given);
          if (given[0] === "commit" && !told) {
            told = true;
            await meanwhile();
          }
          return result;
        };
        return new Proxy(client, {
          get: (of, key) => {
            if (key === "query") return slow;
            const value = Reflect.get(of, key, of);
            return typeof value === "function" ? value.bind(of) : value;
          },
        });
      };
    },
  });
}

test("an attempt that ends during a look may leave work that the look did not see: that is not idle", async () => {
  const context = runtime(
    database,
    echo(() => ({ said: "" })),
  );
  const order: string[] = [];
  const bell = new Bell();
  const slots = new Slots(2, () => bell.ring());
  const attempt = Promise.withResolvers<void>();
  slots.fill({ lease_token: "held" } as ClaimedRun, () => attempt.promise);
  const endAttempt = async () => {
    await takeScene(context);
    attempt.resolve();
    while (!slots.empty) await new Promise((resolve) => setImmediate(resolve));
  };
  const stopped = new AbortController();
  const claims = new Claims({
    context: { ...context, pool: slowToTell(database.pool, endAttempt) },
    as: { worker: "w", pipelines: ["base"], leaseMs: 10_000 },
    slots,
    bell,
    pollMs: 3_600_000,
    onClaimed: (run) => {
      order.push("claimed");
      slots.fill(run, async () => {});
    },
  });
  const idle = claims.untilIdle().then(() => order.push("idle"));
  const claiming = claims.keepClaiming(stopped.signal);
  await idle;
  stopped.abort();
  bell.ring();
  await claiming;

  expect(order).toEqual(["claimed", "idle"]);
});

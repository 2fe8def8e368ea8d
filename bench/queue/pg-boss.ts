import { PgBoss } from "pg-boss";
import type { Pool } from "../../src/db.ts";
import { beginnings, type Contender, idleMs, page, untilNone } from "./contender.ts";

const [queue, batchSize, localConcurrency] = ["nothing", 500, 4];

/** Jobs are fetched and completed by the batch, batches without pause while they are full, and NOTIFY wakes workers. */
export async function pgBoss(pool: Pool, url: string): Promise<Contender> {
  const boss = new PgBoss({ connectionString: url, max: 10, useListenNotify: true, schedule: false });
  boss.on("error", () => {});
  await boss.start();
  await boss.createQueue(queue, { notify: true });
  return {
    name: "pg-boss 12.35.0",
    settings: `batchSize ${batchSize}, localConcurrency ${localConcurrency}, burstWhenBatchFull, useListenNotify; latency with batchSize 1`,
    async enqueue(count) {
      for (let made = 0; made < count; made += page)
        await boss.insert(
          queue,
          Array.from({ length: Math.min(page, count - made) }, () => ({ data: {} })),
        );
    },
    async burnDown(count) {
      let left = count;
      const seen = Promise.withResolvers<void>();
      const options = { batchSize, localConcurrency, burstWhenBatchFull: true, pollingIntervalSeconds: 0.5 };
      await boss.work(queue, options, async (jobs) => {
        left -= jobs.length;
        if (left <= 0) seen.resolve();
      });
      await seen.promise;
      await untilNone(
        pool,
        `select exists (select from pgboss.job where name = '${queue}' and state < 'completed')`,
      );
      await boss.offWork(queue);
    },
    async wait(times) {
      const begun = beginnings();
      await boss.work(queue, { batchSize: 1, localConcurrency: 8, pollingIntervalSeconds: 0.5 }, async () =>
        begun.note(),
      );
      const waits: number[] = [];
      for (let nth = 0; nth < times; nth++) {
        await new Promise((resolve) => setTimeout(resolve, idleMs));
        waits.push(await begun.waitOf(() => boss.send(queue, {})));
      }
      await boss.offWork(queue);
      return waits;
    },
    async forget() {
      await boss.deleteAllJobs(queue);
    },
    async end() {
      await boss.stop({ graceful: true });
    },
  };
}

import { Logger, makeWorkerUtils, type RunnerOptions, run } from "graphile-worker";
import { openPool, type Pool } from "../../src/db.ts";
import { beginnings, type Contender, idleMs, page, untilNone } from "./contender.ts";

const [concurrentJobs, size, delay] = [24, 500, 0];
const silent = new Logger(() => () => {});

/**
 * Jobs are fetched by the local queue, and completed in batches of those that end in one turn: whoever waits for an
 * acknowledgement waits no longer than for the statement.
 */
export async function graphileWorker(pool: Pool, url: string): Promise<Contender> {
  const own = openPool(url, { name: "graphile-worker" });
  const utils = await makeWorkerUtils({ pgPool: own, logger: silent });
  await utils.migrate();
  const start = (worker: GraphileConfig.WorkerOptions, task: () => void) =>
    run({
      preset: { worker },
      pgPool: own,
      ...{ logger: silent, noHandleSignals: true, taskList: { nothing: async () => task() } },
    } satisfies RunnerOptions);
  return {
    name: "graphile-worker 0.18.0",
    settings: `concurrentJobs ${concurrentJobs}, localQueue ${size}, completeJobBatchDelay ${delay}; latency without a local queue`,
    async enqueue(count) {
      for (let made = 0; made < count; made += page) {
        const jobs = Array.from({ length: Math.min(page, count - made) }, () => ({
          identifier: "nothing",
          payload: {},
        }));
        await utils.addJobs(jobs);
      }
    },
    async burnDown(count) {
      let left = count;
      const seen = Promise.withResolvers<void>();
      const settings = {
        concurrentJobs,
        localQueue: { size },
        completeJobBatchDelay: delay,
        failJobBatchDelay: delay,
      };
      const runner = await start(settings, () => void (--left === 0 && seen.resolve()));
      await seen.promise;
      await untilNone(pool, "select exists (select from graphile_worker._private_jobs)");
      await runner.stop();
    },
    async wait(times) {
      const begun = beginnings();
      const runner = await start({ concurrentJobs: 8, pollInterval: 500 }, begun.note);
      const waits: number[] = [];
      for (let nth = 0; nth < times; nth++) {
        await new Promise((resolve) => setTimeout(resolve, idleMs));
        waits.push(await begun.waitOf(() => utils.addJob("nothing", {})));
      }
      await runner.stop();
      return waits;
    },
    forget: async () => {},
    async end() {
      await utils.release();
      await own.end();
    },
  };
}

import { setTimeout as delay } from "node:timers/promises";
import { PgBoss } from "pg-boss";
import { type Contender, pages } from "./contender.ts";

export const queue = "nothing";

export async function startBoss(url: string): Promise<PgBoss> {
  const boss = new PgBoss({ connectionString: url, max: 24, useListenNotify: true, schedule: false });
  boss.on("error", () => {});
  await boss.start();
  await boss.createQueue(queue, { notify: true });
  return boss;
}

/** Makes jobs in their tenant's group; gives the id of one that is alone. */
export async function addJobs(boss: PgBoss, tenant: string, count: number): Promise<string> {
  const job = { data: { tenant }, group: { id: tenant } };
  if (count === 1) return (await boss.send(queue, job.data, { group: job.group })) ?? "";
  for (const size of pages(count))
    await boss.insert(
      queue,
      Array.from({ length: size }, () => job),
    );
  return "";
}

/** One job to a fetch, so that a slot is filled again as soon as it is free; groups are bounded in the database. */
export async function pgBoss(url: string, groupConcurrency: number): Promise<Contender> {
  const boss = await startBoss(url);
  return {
    name: "pg-boss 12.35.0",
    settings: `groupConcurrency ${groupConcurrency}, batchSize 1, localConcurrency as many as slots, burstWhenBatchFull, useListenNotify`,
    add: (tenant, count) => addJobs(boss, tenant, count),
    async work({ slots, ms, onBegun }) {
      const options = {
        ...{ batchSize: 1, localConcurrency: slots, groupConcurrency },
        ...{ burstWhenBatchFull: true, pollingIntervalSeconds: 0.5 },
      };
      await boss.work<{ tenant: string }>(queue, options, async ([job]) => {
        if (job === undefined) return;
        onBegun(job.id, job.data.tenant);
        if (ms > 0) await delay(ms);
      });
      return { stop: () => boss.offWork(queue) };
    },
    async forget() {
      await boss.deleteAllJobs(queue);
    },
    async end() {
      await boss.stop({ graceful: true });
    },
  };
}

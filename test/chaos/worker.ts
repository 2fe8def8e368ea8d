/** A worker of the chaos suite in a process of its own; its one argument is its settings. It ends with its stdin. */
import { z } from "zod";
import { CheckpointWriter } from "../../checkpoints/writer.ts";
import { openPool } from "../../src/db.ts";
import { openModels } from "../../src/models/models.ts";
import { Runtime } from "../../src/runtime.ts";
import { openLog } from "../../src/telemetry/log.ts";
import { registry } from "./pipelines.ts";

export const WorkerSettings = z.object({
  /** The database, through the worker's own proxy. */
  url: z.string(),
  /** The model double. */
  models: z.string(),
  leaseMs: z.number(),
  slots: z.number(),
  logLevel: z.string().default("fatal"),
});
export type WorkerSettings = z.infer<typeof WorkerSettings>;

/** Fewer connections than slots, so that attempts also wait for each other's. */
const connections = 4;

async function work({ url, models, leaseMs, slots, logLevel }: WorkerSettings): Promise<void> {
  const named = nameSessions(url);
  const pool = openPool(named, { max: connections, silentMs: Math.max(leaseMs, 2_000) });
  const context = {
    pool,
    schema: "loregraph",
    checkpoints: new CheckpointWriter(pool),
    registry,
    models: openModels({
      apiKey: String(process.pid),
      baseUrl: models,
      chatModel: "double",
      embeddingModel: "double",
      timeoutMs: 3_000,
      prices: undefined,
    }),
    log: openLog(logLevel),
  };
  const runtime = new Runtime(context, {
    url: named,
    pipelines: [...registry.keys()],
    concurrency: slots,
    leaseMs,
    drainMs: leaseMs / 2,
    webhooks: { timeoutMs: 1_000, disableAfterMs: 3_600_000, toPrivate: true },
  });
  await runtime.start();
  console.log("started");
  await new Promise((told) => process.once("SIGTERM", told));
  await runtime.stop();
  await pool.end();
}

/** Every session tells the observer which process it is of. */
function nameSessions(url: string): string {
  const named = new URL(url);
  named.searchParams.set("options", `-c chaos.pid=${process.pid}`);
  return named.href.replaceAll("+", "%20");
}

if (import.meta.main) {
  process.stdin.resume().on("end", () => process.exit(3));
  await work(WorkerSettings.parse(JSON.parse(process.argv[2] ?? "")));
  process.exit(0);
}

import { importFile } from "../../import.ts";
import { countOpenRuns } from "../../ledger/read.ts";
import { ownFile } from "../../own-file.ts";
import type { Context } from "../../worker/context.ts";
import { Worker } from "../../worker/worker.ts";
import { gatherReport, usedBy } from "../demo/report.ts";
import { reportText } from "../demo/text.ts";
import { exitCodes } from "../exit-codes.ts";
import { print } from "../output.ts";
import { newCommand, uuid } from "../program.ts";
import { progressOf } from "../progress.ts";
import { openRuntime } from "../runtime.ts";
import { aborted, type Session, unlessAway, withSession } from "../session.ts";

/** The demo's own tenant, so that it never meets anybody's content. */
const demoTenant = "5eabe115-0000-4000-8000-000000000007";
const connections = 16;

export const command = () =>
  newCommand("demo", "ingest and enrich a small story world, and show what was learnt", "loregraph demo")
    .option("--tenant <uuid>", "the tenant to use", uuid("--tenant"), demoTenant)
    .action(async ({ tenant, json }) => {
      await withSession(
        async (session) => {
          const started = performance.now();
          const before = await usedBy(session.pool, tenant);
          const context = await openRuntime(session, "warn");
          await takeIn(session, context, tenant);
          await workThrough(session, context, tenant);
          const { chatName, embeddingName, local } = context.models;
          const report = {
            ...(await gatherReport(session.pool, tenant, before)),
            models: { chat: chatName ?? null, embeddings: embeddingName, local },
            seconds: (performance.now() - started) / 1_000,
          };
          print(report, json, reportText);
          if (report.used.failed > 0) process.exitCode = exitCodes.inPart;
        },
        { connections },
      );
    });

async function takeIn(
  { pool, config, signal }: Session,
  { registry }: Context,
  tenant_id: string,
): Promise<void> {
  const progress = progressOf("importing");
  const onProgress = (done: number, total: number) => progress.update(done, total, "entities");
  const options = {
    tenant_id,
    path: ownFile("examples/seven-bells.jsonl"),
    maxTextChars: config.maxTextChars,
    onProgress,
    signal,
  };
  await importFile(pool, registry, options).finally(progress.end);
}

/** Runs a worker until nothing is left to do. The total grows, for runs cause runs. */
async function workThrough(
  { pool, url, config, signal }: Session,
  context: Context,
  tenant_id: string,
): Promise<void> {
  const progress = progressOf("enriching");
  let ended = 0;
  let total = (await countOpenRuns(pool, { tenant_id })).pending;
  const onEnded = async () => {
    const endedBefore = ++ended;
    const open = await unlessAway(countOpenRuns(pool, { tenant_id }));
    if (open) total = Math.max(total, endedBefore + open.pending + open.running);
    progress.update(ended, total, "runs");
  };
  const counting: Promise<void>[] = [];
  const worker = new Worker(context, {
    url,
    leaseMs: config.leaseMs,
    drainMs: 0,
    onEnded: () => void counting.push(onEnded()),
  });
  worker.start();
  await Promise.race([worker.untilDone(), aborted(signal)]);
  await worker.stop();
  await Promise.all(counting);
  if (ended > 0 && !signal.aborted) progress.update(ended, ended, "runs");
  progress.end();
  signal.throwIfAborted();
}

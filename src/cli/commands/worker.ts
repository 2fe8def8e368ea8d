import { countOpenRuns } from "../../ledger/read.ts";
import { Worker } from "../../worker/worker.ts";
import { exitCodes } from "../exit-codes.ts";
import { print } from "../output.ts";
import { list, newCommand, wholeNumber } from "../program.ts";
import { chosenPipelines, openRuntime } from "../runtime.ts";
import { withSession } from "../session.ts";

export const command = () =>
  newCommand(
    "worker",
    "run pipelines until told to stop",
    "loregraph worker --pipelines base,dialog-mood --concurrency 16",
  )
    .option("--pipelines <names>", "only these, separated by commas", list)
    .option("--concurrency <n>", "how many runs at a time", wholeNumber("--concurrency", 1), 8)
    .option("--until-idle", "end when nothing is left to do")
    .action(async ({ pipelines, concurrency, untilIdle, json }) => {
      // A commit and a checkpoint of each slot, the claim, the heartbeat and the tidying may meet.
      await withSession(
        async (session) => {
          const context = await openRuntime(session);
          const tally = new Tally();
          const worker = new Worker(context, {
            url: session.url,
            pipelines: chosenPipelines(context, pipelines),
            concurrency,
            leaseMs: session.config.leaseMs,
            drainMs: session.config.drainMs,
            onEnded: (_, { kind }) => tally.add(kind),
          });
          const stopped = untilSignalled();
          worker.start();
          await Promise.race(untilIdle ? [stopped, worker.untilDone()] : [stopped]);
          await worker.stop();
          await report(session.pool, tally, json);
        },
        { connections: concurrency + 4 },
      );
    });

async function report(
  pool: Parameters<typeof countOpenRuns>[0],
  tally: Tally,
  json: boolean | undefined,
): Promise<void> {
  const open = await countOpenRuns(pool);
  const answer = { ended: tally.counts(), ...open };
  print(answer, json, () => `ended: ${tally.text()}; still pending: ${open.pending}`);
  if (tally.has("hopeless")) process.exitCode = exitCodes.inPart;
}

/** Resolves at the first SIGTERM or SIGINT; a second one ends the process at once. */
function untilSignalled(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ["SIGTERM", "SIGINT"] as const) {
      process.once(signal, () => {
        process.once(signal, () => process.exit(exitCodes.interrupted));
        resolve();
      });
    }
  });
}

/** How many attempts ended in each way. */
class Tally {
  readonly #counts = new Map<string, number>();

  add(kind: string): void {
    this.#counts.set(kind, (this.#counts.get(kind) ?? 0) + 1);
  }

  has(kind: string): boolean {
    return this.#counts.has(kind);
  }

  counts(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#counts);
  }

  text(): string {
    return [...this.#counts].map(([kind, count]) => `${count} ${kind}`).join(", ") || "nothing";
  }
}

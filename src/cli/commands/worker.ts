import { setPriority } from "node:os";
import type { Config } from "../../config.ts";
import type { Pool } from "../../db.ts";
import { countOpenRuns } from "../../ledger/read.ts";
import { endedAs } from "../../worker/ending.ts";
import { exitCodes } from "../exit-codes.ts";
import { print } from "../output.ts";
import { list, newCommand, wholeNumber } from "../program.ts";
import { chosenPipelines, openRuntime, openWork } from "../runtime.ts";
import { aborted, type Session, unlessAway, withSession } from "../session.ts";

/** Attempts wait for models most of the time: these many serve hundreds of them, and Postgres has a hundred for all. */
const mostConnections = 40;

/** Work goes on soon after a network that swallowed what was sent, but no slow statement is taken for that. */
const silentMs = ({ leaseMs }: Pick<Config, "leaseMs">) => Math.max(leaseMs, 10_000);

export const command = () =>
  newCommand(
    "worker",
    "run pipelines until told to stop",
    "loregraph worker --pipelines base,dialog-mood --concurrency 16",
  )
    .option("--pipelines <names>", "only these, separated by commas", list("--pipelines"))
    .option("--concurrency <n>", "how many runs at a time", wholeNumber("--concurrency", 1), 8)
    .option("--until-idle", "end when nothing is left to do")
    .action(async ({ json, ...options }) => {
      // A commit and a checkpoint of each slot, the claims, the tidying and the deliveries may meet.
      const connections = Math.min(options.concurrency + 12, mostConnections);
      await withSession((session) => work(session, options, json), { connections, silentMs });
    });

type Options = {
  readonly pipelines?: readonly string[] | undefined;
  readonly concurrency: number;
  readonly untilIdle?: true | undefined;
};

async function work(
  session: Session,
  { pipelines, concurrency, untilIdle }: Options,
  json: boolean | undefined,
): Promise<void> {
  const context = await openRuntime(session);
  const tally = new Tally();
  const running = openWork(session, context, {
    pipelines: chosenPipelines(context, pipelines),
    concurrency,
    onEnded: (run, ending) => tally.add(endedAs(run, ending)),
  });
  giveWay();
  const signalled = aborted(session.signal).then(() => context.log.info("worker-draining"));
  await running.start();
  await Promise.race(untilIdle ? [signalled, running.untilDone()] : [signalled]);
  await running.stop();
  await report(session.pool, tally, json);
  // Whoever stops a service does not ask whether one of a week's runs failed; who waits for its end does.
  if (untilIdle && tally.has("dead_letter")) process.exitCode = exitCodes.inPart;
}

/** Half way to "below normal": enough to let others go first, and to renew leases on a machine that is overloaded. */
const niceness = 5;

/** Where processors are scarce, answers to people and the database come first. */
function giveWay(): void {
  setPriority(niceness);
}

async function report(pool: Pool, tally: Tally, json: boolean | undefined): Promise<void> {
  // A worker is also stopped because its database is: that is no reason to fail.
  const left = await unlessAway(countOpenRuns(pool));
  const open = left ?? { pending: null, running: null, held: null };
  const pending = left ? `still pending: ${left.pending}${heldText(left.held)}` : "the database is away";
  print({ ended: tally.counts(), ...open }, json, () => `ended: ${tally.text()}; ${pending}`);
}

function heldText(held: number): string {
  return held > 0 ? `; held by a spent budget: ${held}, see \`loregraph budget list\`` : "";
}

/** How many attempts ended in each way. */
class Tally {
  readonly #counts = new Map<string, number>();

  add(how: string): void {
    this.#counts.set(how, (this.#counts.get(how) ?? 0) + 1);
  }

  has(how: string): boolean {
    return this.#counts.has(how);
  }

  counts(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#counts);
  }

  text(): string {
    return (
      [...this.#counts].map(([how, count]) => `${count} ${how.replace("_", " ")}`).join(", ") || "nothing"
    );
  }
}

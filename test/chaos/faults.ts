import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import type { Crew, Member } from "./crew.ts";
import type { ChaosPostgres } from "./postgres.ts";
import { insist } from "./work.ts";

/** What faults befall. */
export type Stage = {
  readonly postgres: ChaosPostgres;
  readonly crew: Crew;
  readonly leaseMs: number;
};

export type Fault = {
  readonly kind: FaultKind;
  /** Which of the workers, where it befalls one. */
  readonly worker: number;
  /** How long it lasts, in milliseconds. */
  readonly ms: number;
};

export type FaultKind = WorkerFault | DatabaseFault;
export type WorkerFault = keyof typeof workerFaults;
export type DatabaseFault = keyof typeof databaseFaults;

/** Does a fault and returns once it is over. */
export async function befall(stage: Stage, { kind, worker, ms }: Fault): Promise<void> {
  if (isDatabaseFault(kind)) return await databaseFaults[kind](stage, ms);
  const member = stage.crew.members[worker];
  if (!member) throw new Error(`there is no worker ${worker}`);
  await workerFaults[kind](member, ms, stage);
}

function isDatabaseFault(kind: FaultKind): kind is DatabaseFault {
  return Object.hasOwn(databaseFaults, kind);
}

type OnWorker = (member: Member, ms: number, stage: Stage) => Promise<void>;

export const workerFaults = {
  /** It dies at once. */
  killed: (member) => afterwardsReplaced(member, () => member.signal("SIGKILL")),
  /** It stands still beyond its leases and then goes on as if nothing had happened. */
  frozen: async (member, ms, { leaseMs }) => {
    member.signal("SIGSTOP");
    await delay(leaseMs * 1.5 + ms);
    member.signal("SIGCONT");
  },
  /** It is told to end, as by a deployment. */
  drained: (member) => afterwardsReplaced(member, () => member.signal("SIGTERM")),
  /** It comes back with a clock that is wrong, by up to a few hours either way. */
  "clock skewed": async (member, ms) => {
    member.skew((ms % 2 === 0 ? 1 : -1) * (60_000 + ms * 5_000));
    await afterwardsReplaced(member, () => member.signal("SIGTERM"));
  },
  /** Its connections break, and no new one can be made. */
  cut: ({ proxy }, ms) => whileProxy(proxy.cut, proxy.mend, ms),
  /** Its connections lead nowhere, and so do new ones. */
  "black hole": ({ proxy }, ms) => whileProxy(proxy.blackHole, proxy.mend, ms),
  /** What it says arrives; the answers do not. */
  "half open": ({ proxy }, ms) => whileProxy(() => proxy.halfOpen("to database"), proxy.mend, ms),
  /** The other half: what the database says arrives, and nothing that it is asked. */
  "half open, deaf": ({ proxy }, ms) => whileProxy(() => proxy.halfOpen("from database"), proxy.mend, ms),
  slow: ({ proxy }, ms) => whileProxy(() => proxy.delay(150), proxy.mend, ms),
} as const satisfies Record<string, OnWorker>;

type OnDatabase = (stage: Stage, ms: number) => Promise<void>;

export const databaseFaults = {
  "database restarted": ({ postgres }, ms) => postgres.restart(ms),
  "database killed": ({ postgres }, ms) => postgres.crash(ms),
  "backends ended": async ({ postgres }) => {
    await insist(() => asAdmin(postgres, endWorkersBackends));
  },
  "connections exhausted": ({ postgres }, ms) =>
    insist(() => asAdmin(postgres, (admin) => hog(postgres, admin, ms))),
  /** Its disk has no room left; what went down with it is started again once there is some. */
  "disk full": async ({ postgres }, ms) => {
    await postgres.fillDisk();
    await delay(ms);
    await postgres.freeDisk();
    await postgres.revive();
    await insist(() => asAdmin(postgres, async (admin) => void (await admin.query("select"))));
  },
} as const satisfies Record<string, OnDatabase>;

async function afterwardsReplaced(member: Member, what: () => void): Promise<void> {
  const replaced = member.replaced();
  what();
  await replaced;
}

async function whileProxy(begin: () => void, end: () => void, ms: number): Promise<void> {
  begin();
  await delay(ms);
  end();
}

async function asAdmin<Result>(
  { url }: ChaosPostgres,
  work: (admin: pg.Client) => Promise<Result>,
): Promise<Result> {
  const admin = new pg.Client({ connectionString: url });
  admin.on("error", () => {});
  try {
    await admin.connect();
    return await work(admin);
  } finally {
    await admin.end().catch(() => {}); // the server may have gone
  }
}

/** Those of the worker processes: each has its process id in its settings, and its application's name from the pools. */
async function endWorkersBackends(admin: pg.Client): Promise<void> {
  await admin.query(
    "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'loregraph%' and pid <> pg_backend_pid()",
  );
}

/** Takes every connection that is free, throws the workers off theirs, takes these too, and lets go after `ms`. */
async function hog(postgres: ChaosPostgres, admin: pg.Client, ms: number): Promise<void> {
  const held: pg.Client[] = [];
  const until = Date.now() + ms;
  try {
    await endWorkersBackends(admin);
    while (Date.now() < until) {
      const client = new pg.Client({ connectionString: postgres.url, application_name: "hog" });
      client.on("error", () => {});
      try {
        await client.connect();
        held.push(client);
      } catch {
        await delay(20); // none is free
      }
    }
  } finally {
    await Promise.all(held.map((client) => client.end().catch(() => {})));
  }
}

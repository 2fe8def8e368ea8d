import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import { openPool, type Pool } from "../../src/db.ts";
import { type Crew, startCrew } from "./crew.ts";
import { type Double, startDouble } from "./double.ts";
import { befall, type Fault } from "./faults.ts";
import { installObserver } from "./observer.ts";
import { type Broken, type Evidence, judge, wasOnItsWay } from "./oracle.ts";
import { type ChaosPostgres, startPostgres } from "./postgres.ts";
import { described, type Schedule, type Scheduled } from "./schedule.ts";
import { insist, planWork, type Work } from "./work.ts";

/** Everything that a storm needs: a Postgres, workers, a model double and work. */
export type Theatre = {
  readonly postgres: ChaosPostgres;
  readonly crew: Crew;
  readonly double: Double;
  readonly pool: Pool;
  readonly work: Work;
  readonly leaseMs: number;
  readonly lagMs: number;
  close(): Promise<void>;
};

export type TheatreOptions = {
  readonly seed: number;
  readonly workers: number;
  readonly slots: number;
  readonly leaseMs: number;
  readonly tenants: number;
  readonly entitiesPerTenant: number;
  /** How many of a hundred questions the model double mistreats. */
  readonly troubles: number;
  /** The least and the longest ordinary answer takes, in milliseconds. */
  readonly thinksMs: readonly [number, number];
  /** The size of the disk of the database, where it is to be small enough to be filled up. */
  readonly smallDiskMb?: number;
  readonly logLevel?: string;
  /** How long a question may be on its way to the double, in milliseconds. Defaults to 200. */
  readonly lagMs?: number;
};

export async function openTheatre(options: TheatreOptions): Promise<Theatre> {
  const { seed, workers, slots, leaseMs, tenants, entitiesPerTenant, troubles, thinksMs } = options;
  const { smallDiskMb, logLevel = "fatal", lagMs = 200 } = options;
  const double = await startDouble({ seed, troubles, thinksMs });
  const postgres = await startPostgres(smallDiskMb === undefined ? {} : { smallDiskMb });
  await observe(postgres.url);
  const pool = openPool(postgres.url, { max: 4, name: "chaos" });
  const work = planWork({ pool, seed, tenants, entitiesPerTenant, models: double.url });
  const shared = { models: double.url, leaseMs, slots, logLevel };
  const crew = await startCrew({ ...shared, url: postgres.url, size: workers });
  return {
    postgres,
    crew,
    double,
    pool,
    work,
    leaseMs,
    lagMs,
    async close() {
      await crew.dismiss();
      await pool.end();
      await double.close();
      await postgres.delete();
    },
  };
}

async function observe(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await installObserver(client);
  await client.end();
}

/** Does faults one after the other, telling of each, as long as there is time. Returns how many there were. */
async function befallAll(
  theatre: Theatre,
  faults: readonly Scheduled[],
  until: number,
  onFault: (fault: Scheduled) => void,
): Promise<number> {
  let done = 0;
  for (const fault of faults) {
    await delay(fault.afterMs);
    if (Date.now() > until) break;
    onFault(fault);
    await befall(theatre, fault);
    done++;
  }
  return done;
}

export type Outcome = {
  readonly broken: readonly Broken[];
  /** From the end of the last fault until every worker had claimed something, in milliseconds. */
  readonly resumedMs: number;
  readonly counts: Readonly<Record<string, number>>;
};

/** A fault in the middle of work, of the worker that is at it, and whether all is well afterwards. */
export async function scene(theatre: Theatre, { kind, ms }: Pick<Fault, "kind" | "ms">): Promise<Outcome> {
  const { work } = theatre;
  await work.setCaps(6, 5);
  await work.takeAll();
  await befall(theatre, { kind, ms, worker: await somebodyAtWork(theatre) });
  return await aftermath(theatre);
}

export type StormOptions = {
  /** When no fault begins any more, in milliseconds from now. */
  readonly ms: number;
  readonly onProgress?: (message: string) => void;
};

/** Work and faults at once, as the schedule says, and whether all is well afterwards. */
export async function storm(
  theatre: Theatre,
  schedule: Schedule,
  { ms, onProgress = () => {} }: StormOptions,
): Promise<Outcome> {
  const { work } = theatre;
  const over = new AbortController();
  await work.setCaps(6, 5);
  await work.takeAll();
  const tell = (fault: Scheduled) => onProgress(described(fault));
  const end = Date.now() + ms;
  const lanes = [schedule.workers, schedule.database].map((faults) => befallAll(theatre, faults, end, tell));
  const doing = keepWorking(theatre, over.signal);
  const faults = (await Promise.all(lanes)).reduce((all, some) => all + some, 0);
  over.abort();
  onProgress("the last fault is over");
  await doing;
  const { counts, ...outcome } = await aftermath(theatre, onProgress);
  return { ...outcome, counts: { faults, ...counts } };
}

/** Users ask for no more while so many runs are pending: the end would be far away. */
const enough = 200;

async function keepWorking({ work, pool }: Theatre, signal: AbortSignal): Promise<void> {
  for (let n = 0; !signal.aborted; await delay(200)) {
    const { pending } = await insist(() => openWork(pool));
    if (pending > enough) await work.resumeAll();
    else await work.step(n++);
  }
}

/** Which worker has a graph under way. */
async function somebodyAtWork({ pool, crew }: Theatre): Promise<number> {
  return await until(async () => {
    const { rows } = await pool.query(
      "select worker from loregraph.pipeline_runs where graph_started_at is not null and pipeline <> 'quick'",
    );
    const at = crew.members.findIndex((member) =>
      rows.some(({ worker }) => worker.includes(`-${member.pid()}-`)),
    );
    return at >= 0 && { at };
  }).then(({ at }) => at);
}

export function evidenceOf({ pool, work, double, crew, lagMs }: Theatre): Evidence {
  return { db: pool, work, calls: double.calls, deaths: crew.deaths, thaws: crew.thaws, lagMs };
}

/** Sees work go on, waits until there is none left, and judges. */
async function aftermath(
  theatre: Theatre,
  onProgress: (message: string) => void = () => {},
): Promise<Outcome> {
  const { pool, double, crew } = theatre;
  const resumed = await resumedMs(theatre);
  await untilDone(pool, onProgress);
  const broken = await judge(evidenceOf(theatre));
  const on_their_way = double.calls.filter((call) => wasOnItsWay(call, crew.thaws)).length;
  const counts = {
    ...(await countsOf(pool)),
    calls: double.calls.length,
    calls_soon_after_a_thaw: on_their_way,
  };
  return { broken, resumedMs: resumed, counts };
}

/** How long it takes from now until every worker has claimed something, of which there is always enough. */
async function resumedMs({ pool, work, crew }: Theatre): Promise<number> {
  const since = Date.now();
  await work.resumeAll();
  for (let n = 0; ; n++) {
    await work.nudge(`${since} ${n}`);
    const claimed = await insist(() => firstClaims(pool, since));
    const times = crew.members.map((member) => claimed.get(String(member.pid())));
    if (times.every((at) => at !== undefined)) return Math.round(Math.max(...times) - since);
    if (Date.now() - since > patienceMs) throw new Error("a worker claims nothing any more");
    await delay(200);
  }
}

/** When each process first claimed something after `since`. */
async function firstClaims(pool: Pool, since: number): Promise<ReadonlyMap<string, number>> {
  const { rows } = await pool.query(
    `select pid, extract(epoch from min(at))::float8 * 1000 as at
     from chaos.transitions
     where became = 'running' and at > to_timestamp($1::float8 / 1000)
     group by pid`,
    [since],
  );
  return new Map(rows.map(({ pid, at }) => [pid, at]));
}

async function untilDone(pool: Pool, onProgress: (message: string) => void): Promise<void> {
  let [told, at] = ["", Date.now()];
  await until(async () => {
    const { pending, running, reingests } = await openWork(pool);
    const message = `left: ${pending} pending, ${running} running, ${reingests} reingests`;
    if (message !== told && Date.now() - at > 5_000) {
      onProgress(message);
      [told, at] = [message, Date.now()];
    }
    return pending + running + reingests === 0;
  });
}

type Open = { readonly pending: number; readonly running: number; readonly reingests: number };

async function openWork(pool: Pool): Promise<Open> {
  return (await pool.query(openSql)).rows[0];
}

const openSql = `
  select count(*) filter (where status = 'pending')::integer as pending,
    count(*) filter (where status in ('running', 'waiting'))::integer as running,
    (select count(*)::integer from loregraph.reingests where status in ('planned', 'running', 'paused')) as reingests
  from loregraph.pipeline_runs`;

async function countsOf(pool: Pool): Promise<Record<string, number>> {
  const { rows } = await pool.query(`
    select count(*)::integer as runs,
      count(*) filter (where status = 'success')::integer as succeeded,
      count(*) filter (where status = 'cancelled')::integer as cancelled,
      (select count(*)::integer from chaos.transitions where error_code = 'LEASE_EXPIRED' and was = 'running' and became <> 'success') as leases_expired,
      (select count(*)::integer from chaos.transitions where became = 'running') as claims,
      (select count(*)::integer from chaos.answers where not is_gone) as answers_saved,
      (select count(*)::integer from loregraph.events) as events
    from loregraph.pipeline_runs`);
  return rows[0];
}

/** How long anything may take that has to come, in milliseconds. */
const patienceMs = 300_000;

/** Asks again and again until there is an answer. */
async function until<Value>(ask: () => Promise<Value | undefined | false>): Promise<Value> {
  for (const end = Date.now() + patienceMs; ; ) {
    const value = await insist(ask);
    if (value !== undefined && value !== false) return value;
    if (Date.now() > end) throw new Error(`waited in vain: ${ask}`);
    await delay(50);
  }
}

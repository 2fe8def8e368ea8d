import { existsSync } from "node:fs";
import { rm, writeFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import lockfile from "proper-lockfile";
import { z } from "zod";
import { type Db, isConnectionError, one } from "../db.ts";
import { LoregraphError, messageOf } from "../errors.ts";
import { type Place, placeOf } from "./place.ts";
import { type OnProgress, runningServer, startServer, stopServer } from "./server.ts";

/** A use of the embedded server, until `release`. */
export type Use = { readonly url: string; release(): Promise<void> };

/**
 * Uses the embedded server of `home`: finds the one that runs, or starts it. Whoever releases last stops it, unless
 * `keepServer` asked otherwise. Any number of processes may do so at once.
 */
export async function useServer(home: string, onProgress: OnProgress = () => {}): Promise<Use> {
  const place = await placeOf(home);
  return await alone(place, async () => {
    const { url, sentinel } = await enter(place, onProgress);
    let released: Promise<void> | undefined;
    return {
      url,
      release() {
        released ??= leave(place, sentinel);
        return released;
      },
    };
  });
}

/** A server that has just crashed can still look alive: one that cannot be entered is looked at again. */
async function enter(place: Place, onProgress: OnProgress, until = Date.now() + 5_000): Promise<Entered> {
  const found = await runningServer(place);
  const url = found ?? (await startServer(place, onProgress));
  try {
    return { url, sentinel: await holdSentinel(url) };
  } catch (error) {
    if (!found || !isConnectionError(error) || Date.now() > until) throw shutOut(place, error);
    await sleep(50);
    return await enter(place, onProgress, until);
  }
}

function shutOut({ log }: Place, cause: unknown): LoregraphError {
  const message = `the embedded PostgreSQL does not let us in: ${messageOf(cause)}; its log: ${log}`;
  return new LoregraphError("EMBEDDED_POSTGRES", message, { cause });
}

/** Starts the server where it does not run, and lets it run until `endServer`. */
export async function keepServer(
  home: string,
  onProgress?: OnProgress,
): Promise<{ url: string; log: string }> {
  const place = await placeOf(home);
  const { url, release } = await useServer(home, onProgress);
  await writeFile(place.keep, "");
  await release();
  return { url, log: place.log };
}

/** Stops the server whoever uses it. False where none ran. */
export async function endServer(home: string): Promise<boolean> {
  const place = await placeOf(home);
  return await alone(place, () => end(place));
}

/** Stops the server and deletes all that it stored. Names the deleted folder. */
export async function deleteServer(home: string): Promise<string> {
  const place = await placeOf(home);
  return await alone(place, async () => {
    await end(place);
    await rm(place.folder, { recursive: true, force: true });
    return place.folder;
  });
}

async function end(place: Place): Promise<boolean> {
  await rm(place.keep, { force: true });
  return await stopServer(place);
}

/** Runs `decide` while no other process starts, enters, leaves or stops this server. */
async function alone<Result>(place: Place, decide: () => Promise<Result>): Promise<Result> {
  const unlock = await lockfile.lock(place.folder, {
    lockfilePath: place.lock,
    realpath: false,
    // A killed process leaves its lock behind; it goes unrenewed for this long.
    stale: 3_000,
    update: 1_000,
    retries: { retries: 2_400, factor: 1, minTimeout: 20, maxTimeout: 50, randomize: true },
    // Only a process that stood still for longer than that loses its lock. PostgreSQL's own lock on the data then
    // still prevents a second server.
    onCompromised: () => {},
  });
  try {
    return await decide();
  } finally {
    // Fails only where the lock was lost, as above.
    await unlock().catch(() => {});
  }
}

/** The open connection by which a process shows that it uses the server, and its process id over there. */
type Sentinel = { readonly client: pg.Client; readonly pid: number };
type Entered = { readonly url: string; readonly sentinel: Sentinel };

const sentinelName = "loregraph sentinel";

/** The operating system closes the connection with the process, however that ends: no crash leaves one behind. */
async function holdSentinel(url: string): Promise<Sentinel> {
  const client = new pg.Client({ connectionString: url, application_name: sentinelName, keepAlive: true });
  // When the server goes away, those who work with it find out by themselves.
  client.on("error", () => {});
  await client.connect();
  return { client, pid: (await one(client, Backend, "select pg_backend_pid() as pid")).pid };
}

const Backend = z.object({ pid: z.int() });

async function leave(place: Place, sentinel: Sentinel): Promise<void> {
  await sentinel.client.end();
  await alone(place, async () => {
    if (existsSync(place.keep)) return;
    const url = await runningServer(place);
    if (url && (await isUnused(url, sentinel))) await stopServer(place);
  });
}

/**
 * Has everybody left? Another sentinel is somebody. So is any other connection, a `psql` for example, but those of
 * a process that was killed need a moment to vanish. Asks on a connection of its own: ours is lost where the server
 * crashed and another process started it again.
 */
async function isUnused(url: string, left: Sentinel): Promise<boolean> {
  const witness = await holdSentinel(url);
  try {
    for (let tries = 0; tries < 25; tries++) {
      const { sentinels, others } = await countBackends(witness.client, [left.pid, witness.pid]);
      if (sentinels > 0) return false;
      if (others === 0) return true;
      await sleep(20);
    }
    return false;
  } finally {
    await witness.client.end();
  }
}

const Backends = z.object({ sentinels: z.int(), others: z.int() });

function countBackends(db: Db, except: readonly number[]): Promise<z.infer<typeof Backends>> {
  return one(
    db,
    Backends,
    `select count(*) filter (where application_name = $1)::int as sentinels, count(*)::int as others
       from pg_stat_activity
      where backend_type = 'client backend' and pid <> all ($2)`,
    [sentinelName, except],
  );
}

import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { rm, statfs } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type pg from "pg";
import { endServer, keepServer } from "../../src/postgres/embedded.ts";
import { migrate } from "../../src/postgres/migrate.ts";
import { placeOf } from "../../src/postgres/place.ts";
import { runningPostmaster } from "../../src/postgres/postmaster.ts";
import { databaseUrl, freshHome, withClient } from "../support/postgres.ts";

/** A Postgres of the suite's own, to be stopped, killed and filled up. Its address stays the same. */
export type ChaosPostgres = {
  /** A migrated database. */
  readonly url: string;
  /** Is its data on a small disk of its own, so that this can be filled up? */
  readonly onSmallDisk: boolean;
  /** Stops it as an operator does, which rolls back what is open, and starts it after `downMs`. */
  restart(downMs: number): Promise<void>;
  /** Kills the postmaster, so that the next start recovers from a crash, and starts it after `downMs`. */
  crash(downMs: number): Promise<void>;
  /** Starts it where it went down by itself. */
  revive(): Promise<void>;
  /** Leaves no room on its disk. Only where it is on a small one. */
  fillDisk(): Promise<void>;
  freeDisk(): Promise<void>;
  delete(): Promise<void>;
};

const run = promisify(execFile);

/** Connections that the server takes in all. Few, so that a hog can take what is left. */
const maxConnections = 60;

/** Starts it. With `smallDiskMb`, its data lies on a file system of that size, where we may mount one. */
export async function startPostgres({ smallDiskMb }: { smallDiskMb?: number } = {}): Promise<ChaosPostgres> {
  const home = await freshHome();
  const onSmallDisk = smallDiskMb !== undefined && (await mountSmallDisk(home, smallDiskMb));
  const remove = keepOf(home, onSmallDisk);
  const first = await keepServer(home);
  await withClient(first.url, async (admin) => {
    await configure(admin);
    await admin.query("create database chaos");
  });
  await endServer(home);
  const server = (await keepServer(home)).url;
  const url = databaseUrl(server, "chaos");
  await migrate(url, { schema: "loregraph" });
  const ballast = join(home, "ballast");
  const revive = async () => void (await keepServer(home));
  return {
    url,
    onSmallDisk,
    revive,
    async restart(downMs) {
      await endServer(home);
      await delay(downMs);
      await revive();
    },
    async crash(downMs) {
      const running = await runningPostmaster(await placeOf(home));
      if (running) process.kill(running.pid, "SIGKILL");
      await delay(downMs);
      await revive();
    },
    async fillDisk() {
      if (!onSmallDisk) throw new Error("a disk that others use is not filled up");
      const { bavail, bsize } = await statfs(home);
      await run("fallocate", ["-l", String(bavail * bsize), ballast]).catch(() => {}); // the server may take it first
    },
    freeDisk: () => rm(ballast, { force: true }),
    delete: remove,
  };
}

/** Has it deleted in the end, even where this process is killed: by another one, which Ctrl-C does not reach. */
function keepOf(home: string, isMounted: boolean): () => Promise<void> {
  const keeper = fileURLToPath(new URL("keeper.ts", import.meta.url));
  const child = spawn(process.execPath, [keeper, home, isMounted ? "mounted" : ""], {
    stdio: ["pipe", "ignore", "inherit"],
    detached: true,
  });
  const ended = once(child, "exit");
  return async () => {
    child.stdin.end();
    await ended;
  };
}

/** Nothing here outlives a power cut, which is not among the faults: a killed process loses nothing that it wrote. */
async function configure(admin: pg.Client): Promise<void> {
  const settings = {
    fsync: "off",
    max_connections: String(maxConnections),
    shared_buffers: "32MB",
    max_wal_size: "64MB",
    min_wal_size: "32MB",
  };
  for (const [name, value] of Object.entries(settings))
    await admin.query(`alter system set ${name} = '${value}'`);
}

/** Only root may mount, and not in every container. */
async function mountSmallDisk(folder: string, megabytes: number): Promise<boolean> {
  try {
    await run("mount", ["-t", "tmpfs", "-o", `size=${megabytes}m,mode=755`, "tmpfs", folder]);
    return true;
  } catch {
    return false;
  }
}

import { readFile, readlink, realpath } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { LoregraphError } from "../errors.ts";
import type { Place } from "./place.ts";

/** The server as its own `postmaster.pid` describes it: the truth about what runs, and on which port. */
export type Postmaster = { readonly pid: number; readonly port: number };

type Written = Postmaster & { readonly status: string };

/** How long a server may take to start or stop, of which recovery after a crash is the longest part. */
export const patience = 60_000;

/** The server that runs on this data and is ready, or undefined. Waits while one starts or stops. */
export async function runningPostmaster(place: Place): Promise<Postmaster | undefined> {
  const until = Date.now() + patience;
  while (Date.now() < until) {
    const written = await readPidFile(place);
    if (!written || !(await isPostmaster(written.pid, place))) return undefined;
    if (written.status === "ready") return { pid: written.pid, port: written.port };
    await sleep(20);
  }
  throw new LoregraphError(
    "EMBEDDED_POSTGRES",
    `PostgreSQL neither started nor stopped within ${patience / 1000} s; its log: ${place.log}`,
  );
}

/** Lines 1, 4 and 8 of the file are pid, port and status; while it is being written, the later ones are missing. */
async function readPidFile({ data }: Place): Promise<Written | undefined> {
  const lines = (await readIfThere(join(data, "postmaster.pid")))?.split("\n") ?? [];
  const pid = Number(lines[0]);
  if (!Number.isSafeInteger(pid) || pid <= 0) return undefined;
  return { pid, port: Number(lines[3]), status: lines[7]?.trim() ?? "" };
}

/** The port that the server had the last time it was started, so that known addresses keep working. */
export async function lastPort({ data }: Place): Promise<number | undefined> {
  const options = await readIfThere(join(data, "postmaster.opts"));
  const port = /"-p" "(\d+)"/.exec(options ?? "")?.[1];
  return port === undefined ? undefined : Number(port);
}

/**
 * Is the process of this id our server? After a crash, and in every restarted container, another process may have
 * got the id. A server works in its data folder, which Linux tells; elsewhere a living process has to do.
 */
async function isPostmaster(pid: number, { data }: Place): Promise<boolean> {
  if (!isAlive(pid)) return false;
  if (process.platform !== "linux") return true;
  try {
    return (await readlink(`/proc/${pid}/cwd`)) === (await realpath(data));
  } catch {
    return false;
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}

/** The file's text, or undefined where there is no such file. */
export async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
}

import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { LoregraphError } from "../errors.ts";
import { initialise, role } from "./initialise.ts";
import type { Place } from "./place.ts";
import { freePort } from "./port.ts";
import { lastPort, patience, readIfThere, runningPostmaster } from "./postmaster.ts";
import { type Ended, runProgram } from "./program.ts";

/** Told, in a few words, of what takes a moment. */
export type OnProgress = (message: string) => void;

/** The URL of the server that runs on this data, or undefined. */
export async function runningServer(place: Place): Promise<string | undefined> {
  const found = await runningPostmaster(place);
  return found && urlOf(place, found.port);
}

/** Starts the server, which outlives this process, and makes its data folder first where there is none. */
export async function startServer(place: Place, onProgress: OnProgress): Promise<string> {
  if (!existsSync(place.data)) {
    onProgress(`making an embedded PostgreSQL in ${place.folder}`);
    await initialise(place);
  }
  await checkDataVersion(place);
  // Nothing runs on this data: a pid file can only be a crash's, and its pid may by now be anybody's.
  await rm(join(place.data, "postmaster.pid"), { force: true });
  return await startUntilItHolds(place);
}

/** Stops the server at once: what is not committed is rolled back. False where none ran. */
export async function stopServer(place: Place): Promise<boolean> {
  if (!(await runningPostmaster(place))) return false;
  const { code, output } = await runProgram(place, "pg_ctl", ["stop", ...onData(place), "--mode=fast"]);
  if (code !== 0) throw await failure(place, `PostgreSQL did not stop: ${output}`);
  return true;
}

const onData = ({ data }: Place) => [
  `--pgdata=${data}`,
  "--silent",
  "--wait",
  `--timeout=${patience / 1000}`,
];

/** A port can be taken between the choice and the start, and a crash leaves processes that need a moment to end. */
async function startUntilItHolds(place: Place): Promise<string> {
  const until = Date.now() + 10_000;
  for (;;) {
    const port = await freePort(await lastPort(place));
    const logged = (await readIfThere(place.log))?.length ?? 0;
    const { code, output } = await startOn(place, port);
    if (code === 0) return await urlOf(place, port);
    const said = (await readIfThere(place.log))?.slice(logged) ?? "";
    if (passing.test(said) && Date.now() < until) await sleep(100);
    else throw await failure(place, `PostgreSQL did not start: ${output}`);
  }
}

const passing = /Address already in use|could not create any TCP.IP sockets|pre-existing shared memory block/;

function startOn(place: Place, port: number): Promise<Ended> {
  return runProgram(place, "pg_ctl", [
    "start",
    ...onData(place),
    `--log=${place.log}`,
    `--options=-p ${port}`,
  ]);
}

async function checkDataVersion(place: Place): Promise<void> {
  const major = (await readIfThere(join(place.data, "PG_VERSION")))?.trim();
  const ours = place.binaries.version.split(".")[0];
  if (major === ours) return;
  throw new LoregraphError(
    "EMBEDDED_POSTGRES",
    `expected ${place.data} to hold data of PostgreSQL ${ours}, got: ${major ?? "no PG_VERSION file"}`,
  );
}

/** Names the server's log and shows its end, which says why. */
async function failure({ log }: Place, message: string): Promise<LoregraphError> {
  const lines = ((await readIfThere(log)) ?? "").trimEnd().split("\n").slice(-10);
  return new LoregraphError("EMBEDDED_POSTGRES", `${message}\n${log} ends with:\n${lines.join("\n")}`);
}

async function urlOf({ password }: Place, port: number): Promise<string> {
  return `postgres://${role}:${await readIfThere(password)}@127.0.0.1:${port}/postgres`;
}

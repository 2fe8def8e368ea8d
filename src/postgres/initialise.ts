import { randomBytes } from "node:crypto";
import { open, readdir, rename, rm } from "node:fs/promises";
import { totalmem } from "node:os";
import { join } from "node:path";
import { LoregraphError } from "../errors.ts";
import type { Place } from "./place.ts";
import { runProgram } from "./program.ts";

/** The role that owns the embedded database. */
export const role = "loregraph";

const staged = "initialising-";

/**
 * Makes the data folder with `initdb`, in a staging folder that is renamed once it is whole: an interrupted
 * initialisation leaves nothing but a folder that the next one removes.
 */
export async function initialise(place: Place): Promise<void> {
  await removeLeftovers(place);
  // initdb makes the folder, as the server's user: root changes the owner of no path that this user could swap.
  const staging = join(place.folder, `${staged}${randomBytes(6).toString("hex")}`);
  await writePassword(place);
  const { code, output } = await runProgram(place, "initdb", initdbArguments(place, join(staging, "data")));
  if (code !== 0) throw new LoregraphError("EMBEDDED_POSTGRES", `initdb failed in ${staging}:\n${output}`);
  await rename(join(staging, "data"), place.data);
  await rm(staging, { recursive: true });
}

async function removeLeftovers({ folder }: Place): Promise<void> {
  for (const name of await readdir(folder)) {
    if (name.startsWith(staged))
      await rm(join(folder, name), { recursive: true, force: true, maxRetries: 3 });
  }
}

async function writePassword({ password, user }: Place): Promise<void> {
  await rm(password, { force: true });
  const file = await open(password, "wx", 0o600);
  try {
    await file.writeFile(randomBytes(24).toString("base64url"));
    if (user) await file.chown(user.uid, user.gid);
  } finally {
    await file.close();
  }
}

/**
 * The built-in C.UTF-8 needs no locale of the operating system, and unlike plain C it knows that É is a capital,
 * which full-text search relies on.
 */
function initdbArguments({ password }: Place, data: string): readonly string[] {
  const settings = {
    listen_addresses: "127.0.0.1",
    unix_socket_directories: "",
    shared_buffers: `${bufferMebibytes()}MB`,
    timezone: "UTC",
    log_timezone: "UTC",
    log_checkpoints: "off",
    // Ends the query of a process that was killed, instead of running it to its end for nobody.
    client_connection_check_interval: "1s",
  };
  return [
    `--pgdata=${data}`,
    `--username=${role}`,
    `--pwfile=${password}`,
    "--auth=scram-sha-256",
    "--encoding=UTF8",
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--no-instructions",
    ...Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]),
  ];
}

/**
 * An eighth of the memory, since others live there too; from Postgres's own default to 1 GiB. With its default, the
 * indexes of a million runs do not fit, and each claim reads and writes pages of files.
 */
function bufferMebibytes(): number {
  const memory = Math.min(totalmem(), process.constrainedMemory() || Number.POSITIVE_INFINITY); // 0 where it is unknown
  return Math.floor(Math.min(1_024, Math.max(128, memory / 8 / 1_024 ** 2)));
}

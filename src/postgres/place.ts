import { createHash } from "node:crypto";
import { access, chmod, chown, constants, mkdir, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { LoregraphError } from "../errors.ts";
import { type Binaries, copyBinaries, installedBinaries } from "./binaries.ts";
import { serverUser, type User } from "./user.ts";

/** Where one embedded PostgreSQL keeps everything, and who runs it. */
export type Place = {
  /** Holds what follows; belongs to the server's user, and nobody else may enter it. */
  readonly folder: string;
  readonly data: string;
  readonly log: string;
  readonly password: string;
  /** Exists while `db start` asked that the server outlive the commands that use it. */
  readonly keep: string;
  /** Taken for each decision to start or stop. Lies beside the folder, because a reset deletes that. */
  readonly lock: string;
  readonly binaries: Binaries;
  /** Whom the server runs as where we are root, which PostgreSQL refuses to run as. */
  readonly user: User | undefined;
};

/** Where root keeps what the server's user could not reach, for example below a `/root` that only root enters. */
const shared = "/var/lib/loregraph";

/** Finds, and makes where it is missing, the place of the server of `home`. */
export async function placeOf(home: string): Promise<Place> {
  const wanted = resolve(home, "postgres");
  await mkdir(dirname(wanted), { recursive: true });
  const user = await serverUser(wanted);
  const folder = (await canReach(wanted, user)) ? wanted : join(await sharedFolder(), nameFor(wanted));
  const installed = await installedBinaries();
  const binaries = (await canReach(installed.folder, user))
    ? installed
    : await copyBinaries(installed, await sharedFolder());
  await makeFolder(folder, user);
  return {
    folder,
    data: join(folder, "data"),
    log: join(folder, "server.log"),
    password: join(folder, "password"),
    keep: join(folder, "keep"),
    lock: `${folder}.lock`,
    binaries,
    user,
  };
}

function nameFor(path: string): string {
  return createHash("sha256").update(path).digest("hex").slice(0, 12);
}

async function makeFolder(folder: string, user: User | undefined): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  if (user) return await chown(folder, user.uid, user.gid);
  try {
    await access(folder, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (cause) {
    throw new LoregraphError("EMBEDDED_POSTGRES", `${folder} belongs to another user: set LOREGRAPH_HOME`, {
      cause,
    });
  }
}

async function sharedFolder(): Promise<string> {
  await mkdir(shared, { recursive: true });
  await chmod(shared, 0o755);
  return shared;
}

/** May `user` pass through every folder above `path`? We ourselves may, where the server runs as us. */
async function canReach(path: string, user: User | undefined): Promise<boolean> {
  if (!user) return true;
  for (let at = dirname(path); ; at = dirname(at)) {
    if (!(await mayEnter(at, user))) return false;
    if (at === dirname(at)) return true;
  }
}

async function mayEnter(folder: string, user: User): Promise<boolean> {
  const { uid, gid, mode } = await stat(folder);
  const owner = uid === user.uid ? 0o100 : 0;
  const group = gid === user.gid ? 0o010 : 0;
  return (mode & (owner | group | 0o001)) !== 0;
}

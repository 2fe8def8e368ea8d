import { execFile } from "node:child_process";
import { stat } from "node:fs/promises";
import { promisify } from "node:util";
import { LoregraphError } from "../errors.ts";

/** A user of the operating system. */
export type User = { readonly uid: number; readonly gid: number };

/**
 * Whom to run PostgreSQL as where we are root: whoever owns `folder` if it is there, else `postgres` if there is
 * one, else `nobody`, so that no user has to be added to the system. Undefined where we are an ordinary user, and
 * the server simply runs as us.
 */
export async function serverUser(folder: string): Promise<User | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const user = (await ownerOf(folder)) ?? (await lookUp("postgres")) ?? (await lookUp("nobody"));
  if (user) return user;
  throw new LoregraphError(
    "EMBEDDED_POSTGRES",
    "PostgreSQL refuses to run as root, and this system has neither a user postgres nor nobody: set DATABASE_URL",
  );
}

async function ownerOf(folder: string): Promise<User | undefined> {
  const found = await stat(folder).catch(() => undefined);
  return found && found.uid !== 0 ? { uid: found.uid, gid: found.gid } : undefined;
}

async function lookUp(name: string): Promise<User | undefined> {
  const run = promisify(execFile);
  try {
    const [uid, gid] = await Promise.all([run("id", ["-u", name]), run("id", ["-g", name])]);
    return { uid: Number(uid.stdout), gid: Number(gid.stdout) };
  } catch {
    return undefined;
  }
}

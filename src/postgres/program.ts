import { spawn } from "node:child_process";
import { join } from "node:path";
import type { Place } from "./place.ts";

/** How a program of PostgreSQL ended: its exit code (null after a signal) and what it wrote. */
export type Ended = { readonly code: number | null; readonly output: string };

/** Runs `initdb` or `pg_ctl` to its end, as the server's user. */
export function runProgram(place: Place, name: "initdb" | "pg_ctl", args: readonly string[]): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(join(place.binaries.folder, "bin", name), args, {
      ...place.user,
      // A folder that the server's user can enter: ours may be closed to it.
      cwd: place.folder,
      env: cleanEnvironment(),
      stdio: ["ignore", "pipe", "pipe"],
      windowsHide: true,
    });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text) => {
        output += text;
      });
    }
    child.on("error", reject).on("close", (code) => resolve({ code, output: output.trim() }));
  });
}

/** The server must not inherit our secrets, nor a locale that this system lacks. Windows needs its own variables. */
function cleanEnvironment(): Record<string, string> | undefined {
  return process.platform === "win32" ? undefined : { PATH: "/usr/bin:/bin", LC_ALL: "C" };
}

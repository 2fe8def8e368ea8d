/** Deletes the embedded server of a folder, what it holds and what is mounted on it, once its stdin ends. */
import { execFileSync } from "node:child_process";
import { rm } from "node:fs/promises";
import { deleteServer } from "../../src/postgres/embedded.ts";

const [home = "", isMounted] = process.argv.slice(2);
process.stdin.resume().on("end", async () => {
  await rm(`${home}/ballast`, { force: true });
  await deleteServer(home);
  if (isMounted === "mounted") execFileSync("umount", [home]);
  await rm(home, { recursive: true, force: true });
});

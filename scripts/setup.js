/**
 * Installs what package-lock.json names, unless it is installed already: then it takes milliseconds. Plain
 * JavaScript for any Node from 18 on, because it runs before anything is installed.
 */
import { spawnSync } from "node:child_process";
import { existsSync, linkSync, mkdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** Installs where something is missing. Of several processes at once, one installs and the others wait. */
export function setup(folder = root) {
  if (isInstalled(folder)) return;
  const unlock = lock(join(folder, ".loregraph", "setup.lock"));
  try {
    if (!isInstalled(folder)) install(folder);
  } finally {
    unlock();
  }
}

/** Is every package that the lockfile demands there, in its version? npm records what it installed. */
export function isInstalled(folder = root) {
  const installed = packagesOf(join(folder, "node_modules", ".package-lock.json"));
  if (!installed) return false;
  const wanted = packagesOf(join(folder, "package-lock.json")) ?? {};
  return Object.entries(wanted).every(
    ([path, { version, optional }]) => path === "" || optional || installed[path]?.version === version,
  );
}

function packagesOf(file) {
  return existsSync(file) ? JSON.parse(readFileSync(file, "utf8")).packages : undefined;
}

function install(folder) {
  console.error("installing the packages of package-lock.json…");
  const args = ["ci", "--no-audit", "--no-fund", "--loglevel=error"];
  // npm's own output goes where progress goes: stdout belongs to the command that follows.
  const options = { cwd: folder, stdio: ["ignore", 2, 2], shell: process.platform === "win32" };
  const { status, error } = spawnSync("npm", args, options);
  if (status === 0) return;
  throw new Error(`npm ${args.join(" ")} failed: ${error?.message ?? `exit code ${status}`}`);
}

/** Takes the lock, waiting while a living process holds it. Answers the function that gives it back. */
function lock(file) {
  mkdirSync(dirname(file), { recursive: true });
  if (!tryLock(file)) {
    console.error(`waiting for another process that installs (it holds ${file})…`);
    while (!tryLock(file)) pause(100);
  }
  return () => rmSync(file, { force: true });
}

/** A link appears with its content, so nobody sees a lock that does not say whose it is. */
function tryLock(file) {
  const mine = `${file}.${process.pid}`;
  writeFileSync(mine, String(process.pid));
  try {
    linkSync(mine, file);
    return true;
  } catch (error) {
    if (error.code !== "EEXIST") throw error;
    if (isAbandoned(file)) rmSync(file, { force: true });
    return false;
  } finally {
    rmSync(mine, { force: true });
  }
}

function isAbandoned(file) {
  try {
    return !process.kill(Number(readFileSync(file, "utf8")), 0);
  } catch (error) {
    return error.code === "ESRCH";
  }
}

function pause(milliseconds) {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  try {
    setup();
  } catch (error) {
    console.error(error.message);
    process.exitCode = 1;
  }
}

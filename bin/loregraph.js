#!/usr/bin/env node
/**
 * Starts the command line. In a checkout it installs what is missing and runs the sources with the Node that the
 * project brings, so that any Node from 18 on will do; the published package needs Node 24 itself.
 */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const sources = join(root, "src", "cli", "main.ts");
const built = join(root, "dist", "src", "cli", "main.js");
const isNew = Number(process.versions.node.split(".")[0]) >= 24;

// Node strips no types below node_modules, so there only the built package runs.
const isCheckout = existsSync(sources) && !/[\\/]node_modules[\\/]/.test(root);

const tooOld = `loregraph needs Node 24 or newer; this is Node ${process.versions.node}
       Install it from https://nodejs.org, or for this project alone: npm install --save-dev node@24`;

stopWithNpx();
if (isCheckout) await runSources();
else await runBuilt();

async function runSources() {
  const { setup } = await import("../scripts/setup.js");
  try {
    setup();
  } catch (error) {
    return fail(error.message);
  }
  if (isNew) await run(sources);
  else runWith(join(root, "node_modules", "node", "bin", process.platform === "win32" ? "node.exe" : "node"));
}

async function runBuilt() {
  if (!isNew) return fail(tooOld);
  await run(built);
}

async function run(main) {
  process.argv[1] = main;
  await import(pathToFileURL(main).href);
}

/** Runs the sources in another Node, as if it were this process: same streams, same signals, same ending. */
function runWith(node) {
  if (!existsSync(node)) {
    return fail(`the package "node" placed no ${node}: run \`npm rebuild node\`, or use Node 24 or newer`);
  }
  const child = spawn(node, [sources, ...process.argv.slice(2)], { stdio: "inherit" });
  for (const signal of ["SIGTERM", "SIGHUP", "SIGINT", "SIGQUIT", "SIGUSR2"]) {
    process.on(signal, () => pass(signal, child));
  }
  child.on("error", (error) => fail(error.message));
  child.on("exit", (code, signal) => (signal ? dieOf(signal) : process.exit(code)));
}

/** A terminal sends Ctrl-C and Ctrl-\ to the child, too; it must not get them twice. */
function pass(signal, child) {
  const fromTerminal = process.stdin.isTTY && (signal === "SIGINT" || signal === "SIGQUIT");
  if (!fromTerminal) child.kill(signal);
}

function dieOf(signal) {
  process.removeAllListeners(signal);
  process.kill(process.pid, signal);
}

/** npx passes SIGTERM on to the shell between us and it, which dies of it and tells nobody: we notice it by that. */
function stopWithNpx() {
  if (process.env.npm_command !== "exec") return;
  const shell = process.ppid;
  const watch = setInterval(() => {
    if (process.ppid === shell) return;
    clearInterval(watch);
    process.kill(process.pid, "SIGTERM");
  }, 250);
  watch.unref();
}

function fail(message) {
  console.error(message);
  process.exitCode = 1;
}

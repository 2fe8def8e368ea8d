import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";

export type Ending = { readonly code: number | null; readonly signal: NodeJS.Signals | null };

/** A Node process of a test: what it writes, line by line, and how it ends. */
export type TestProcess = {
  readonly child: ChildProcessByStdio<Writable, Readable, Readable>;
  /** The next line of its stdout. Fails, with its stderr, if it ends without one. */
  line(): Promise<string>;
  /** What it has written to stderr so far. */
  errors(): string;
  /** Closes its stdin and waits for its end. */
  finish(): Promise<Ending>;
  kill(signal: NodeJS.Signals): Promise<Ending>;
};

/** Starts `file`, named relative to test/support or absolutely, in the Node that runs the tests. It ends with its test. */
export function startProcess(
  file: string,
  args: readonly string[] = [],
  {
    env = {},
    nodeArgs = [],
    cwd,
  }: { env?: NodeJS.ProcessEnv; nodeArgs?: readonly string[]; cwd?: string } = {},
): TestProcess {
  const path = fileURLToPath(new URL(file, import.meta.url));
  const child = spawn(process.execPath, [...nodeArgs, path, ...args], {
    stdio: "pipe",
    env: { ...process.env, ...env },
    ...(cwd && { cwd }),
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  const ended: Promise<Ending> = once(child, "close").then(([code, signal]) => ({ code, signal }));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  let errors = "";
  child.stderr.setEncoding("utf8").on("data", (text) => {
    errors += text;
  });
  return {
    child,
    async line() {
      const { value, done } = await lines.next();
      if (done) throw new Error(`${file} ended without another line: ${errors}`);
      return value;
    },
    errors: () => errors,
    finish() {
      child.stdin.end();
      return ended;
    },
    kill(signal) {
      child.kill(signal);
      return ended;
    },
  };
}

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, realpath, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";

const main = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url));

/** What a command said, and how it ended: by a code, or by a signal, which has no code. */
export type Said = { readonly code: number | null; readonly out: string; readonly err: string };

export type Command = {
  /** Resolves once stderr holds what `pattern` matches. Fails, with all of stderr, if the command ends without it. */
  until(pattern: RegExp): Promise<void>;
  /** What it has written to stderr so far. */
  errors(): string;
  kill(signal: NodeJS.Signals): void;
  readonly ended: Promise<Said>;
};

type Settings = Readonly<Record<string, string>>;

/** A folder of its own, deleted with the test or, from `beforeAll`, by whoever made it. */
export async function emptyFolder(): Promise<string> {
  return await realpath(await mkdtemp(join(tmpdir(), "loregraph-cli-")));
}

/** A command of the command line, run as people run it: a process in `cwd`, with these settings and no others. */
function startCommand(
  args: readonly string[],
  settings: Settings,
  cwd: string = tmpdir(),
  input?: string,
): Command {
  const child = spawn(process.execPath, [main, ...args], {
    cwd,
    env: { PATH: process.env.PATH ?? "", HOME: process.env.HOME ?? "", ...settings },
    stdio: ["pipe", "pipe", "pipe"],
  });
  // A command that reads none of it may have ended before.
  child.stdin.on("error", () => {}).end(input);
  const said = { out: "", err: "" };
  child.stdout.setEncoding("utf8").on("data", (text) => {
    said.out += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text) => {
    said.err += text;
  });
  const ended: Promise<Said> = once(child, "close").then(([code]) => ({ code, ...said }));
  return {
    async until(pattern) {
      while (!pattern.test(said.err)) {
        const heard = await Promise.race([once(child.stderr, "data"), ended]);
        if (!Array.isArray(heard) && !pattern.test(said.err))
          throw new Error(`${args[0]} ended without saying ${pattern}: ${said.err}`);
      }
    },
    errors: () => said.err,
    kill: (signal) => void child.kill(signal),
    ended,
  };
}

/** Runs a command to its end; `input` is what it reads on stdin. */
export async function run(
  args: readonly string[],
  settings: Settings,
  cwd?: string,
  input?: string,
): Promise<Said> {
  const command = startCommand(args, settings, cwd, input);
  return await command.ended;
}

/** Starts a command that a failing test would leave behind: it is killed when the test ends. */
export function startInTest(args: readonly string[], settings: Settings, cwd?: string): Command {
  const command = startCommand(args, settings, cwd);
  onTestFinished(() => command.kill("SIGKILL"));
  return command;
}

/** Writes a file of this test into a folder of its own, which is deleted with the test. Answers its path. */
export async function fileInTest(name: string, content: string | Uint8Array): Promise<string> {
  const folder = await emptyFolder();
  onTestFinished(() => rm(folder, { recursive: true }));
  await writeFile(join(folder, name), content);
  return join(folder, name);
}

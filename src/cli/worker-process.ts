import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { pause } from "../pause.ts";
import type { Log } from "../telemetry/log.ts";

export type WorkerProcess = {
  /** Asks it to drain and waits for its end; one that does not end within `graceMs` is killed. */
  stop(graceMs: number): Promise<void>;
};

/** The longest wait before a worker that died is started again, in milliseconds. */
const longestWaitMs = 30_000;

/**
 * Runs `loregraph worker` as a process of its own, and again should it die: graphs that keep a processor busy then
 * hold up no answer of this one. It ends with this process, even where that is killed.
 */
export function keepWorker(args: readonly string[], log: Log): WorkerProcess {
  const stopping = new AbortController();
  let child = start(args);
  const kept = (async () => {
    for (let deaths = 0; ; deaths++) {
      const [code, signal] = await once(child, "exit");
      if (stopping.signal.aborted) return;
      log.error({ code, signal }, "worker-died");
      await pause(Math.min(longestWaitMs, 1_000 * 2 ** deaths), stopping.signal);
      if (stopping.signal.aborted) return;
      child = start(args);
    }
  })();
  return {
    async stop(graceMs) {
      stopping.abort();
      child.kill("SIGTERM");
      const timer = setTimeout(() => child.kill("SIGKILL"), graceMs);
      await kept;
      clearTimeout(timer);
    },
  };
}

/** Its log goes where ours does. The channel tells it when we are gone. */
function start(args: readonly string[]): ChildProcess {
  const [, main = ""] = process.argv;
  return spawn(process.execPath, [...process.execArgv, main, "worker", ...args], {
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
}

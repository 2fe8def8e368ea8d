import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { proxyTo, type TestProxy } from "../support/proxy.ts";
import type { WorkerSettings } from "./worker.ts";

/** A worker process behind a proxy of its own; when it ends, another one takes its place. */
export type Member = {
  readonly proxy: TestProxy;
  /** Its process id; undefined while there is none. */
  pid(): number | undefined;
  signal(signal: NodeJS.Signals): void;
  /** Resolves when the process that runs now has ended and the next one works. */
  replaced(): Promise<void>;
  /** By how much the clock of its next process is wrong, in milliseconds. */
  skew(ms: number): void;
};

export type Crew = {
  readonly members: readonly Member[];
  /** What processes said that ended though nobody had told them to. */
  readonly deaths: readonly string[];
  /** When processes went on that had been frozen, in milliseconds since 1970. */
  readonly thaws: readonly Thaw[];
  /** Drains them all. */
  dismiss(): Promise<void>;
};

export type Thaw = { readonly worker: string; readonly at: number };

export type CrewOptions = Omit<WorkerSettings, "url"> & {
  readonly url: string;
  readonly size: number;
};

const [worker, skewedClock] = ["worker.ts", "skewed-clock.ts"].map((file) =>
  fileURLToPath(new URL(file, import.meta.url)),
);

/** How long a dead process is missed before there is another, in milliseconds. */
const restartMs = 100;

/** Starts worker processes and keeps their number. */
export async function startCrew({ url, size, ...settings }: CrewOptions): Promise<Crew> {
  const deaths: string[] = [];
  const thaws: Thaw[] = [];
  const dismissed = new AbortController();
  const keepers = await Promise.all(
    Array.from({ length: size }, async () => {
      const proxy = await proxyTo(url);
      return keep(proxy, { ...settings, url: proxy.url }, { deaths, thaws, dismissed: dismissed.signal });
    }),
  );
  await Promise.all(keepers.map(({ started }) => started()));
  return {
    members: keepers,
    deaths,
    thaws,
    async dismiss() {
      dismissed.abort();
      await Promise.all(keepers.map(({ ended }) => ended()));
      await Promise.all(keepers.map(({ proxy }) => proxy.close()));
    },
  };
}

type Kept = { readonly deaths: string[]; readonly thaws: Thaw[]; readonly dismissed: AbortSignal };

function keep(proxy: TestProxy, settings: WorkerSettings, { deaths, thaws, dismissed }: Kept) {
  let skewMs = 0;
  let child: ChildProcess | undefined;
  let working: ChildProcess | undefined;
  const told = new WeakSet<ChildProcess>();
  const loop = keepOne();

  async function keepOne(): Promise<void> {
    while (!dismissed.aborted) {
      const { process, ended } = begin(settings, skewMs, () => {
        working = process;
      });
      child = process;
      const said = await ended;
      child = undefined;
      working = undefined;
      if (said && !told.has(process)) deaths.push(said);
      if (!dismissed.aborted) await delay(restartMs);
    }
  }

  async function untilAnother(than: ChildProcess | undefined): Promise<void> {
    while (working === undefined || working === than) await delay(10);
  }

  function signal(name: NodeJS.Signals): void {
    if (!child) return;
    if (name !== "SIGSTOP" && name !== "SIGCONT") told.add(child);
    if (name === "SIGCONT") thaws.push({ worker: String(child.pid), at: Date.now() });
    child.kill(name);
  }

  return {
    proxy,
    pid: () => child?.pid,
    signal,
    started: () => untilAnother(undefined),
    replaced: () => untilAnother(child),
    skew(ms: number) {
      skewMs = ms;
    },
    async ended() {
      signal("SIGCONT");
      signal("SIGTERM");
      const timer = setTimeout(() => signal("SIGKILL"), 15_000);
      await loop;
      clearTimeout(timer);
    },
  };
}

/** One process. `ended` answers what it said where it ended by itself after it had begun to work, and else nothing. */
function begin(settings: WorkerSettings, skewMs: number, onStarted: () => void) {
  const skewed = skewMs === 0 ? [] : ["--import", String(skewedClock)];
  const process = spawn(globalThis.process.execPath, [...skewed, String(worker), JSON.stringify(settings)], {
    stdio: ["pipe", "pipe", "pipe"],
    env: { ...globalThis.process.env, CHAOS_CLOCK_SKEW_MS: String(skewMs) },
  });
  let [works, said] = [false, ""];
  createInterface({ input: process.stdout }).on("line", () => {
    works = true;
    onStarted();
  });
  process.stderr.setEncoding("utf8").on("data", (text) => {
    said = (said + text).slice(-4_000);
  });
  // One that cannot begin, because the database is away, ends at once and is begun again.
  const ended = once(process, "close").then(([code, signal]) =>
    works && code !== 0 ? `${code ?? signal}: ${said}` : undefined,
  );
  return { process, ended };
}

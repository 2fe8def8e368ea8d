import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { type BenchOptions, machine, spread, withDatabase } from "./support.ts";

const main = fileURLToPath(new URL("../src/cli/main.ts", import.meta.url));

export type Finished = { readonly seconds: number; readonly peakMb: number; readonly answer: unknown };

/** A novel from file to enrichments with local models: import, then a worker until nothing is left, then again. */
export async function bench({ rounds, file }: BenchOptions) {
  if (!file) throw new Error("expected --file with the path of a novel");
  const imports: number[] = [];
  const works: number[] = [];
  const again: number[] = [];
  const peaks: number[] = [];
  let last: unknown;
  const postgres = await withDatabase(async ({ url, postgres }) => {
    for (let round = 0; round < rounds; round++) {
      const tenant = randomUUID();
      const first = await finish(runCli(url, ["import", file, "--tenant", tenant, "--json"]));
      const work = await finish(runCli(url, ["worker", "--until-idle", "--json"]));
      const second = await finish(runCli(url, ["import", file, "--tenant", tenant, "--json"]));
      imports.push(first.seconds);
      works.push(work.seconds);
      again.push(second.seconds);
      peaks.push(work.peakMb);
      last = { import: first.answer, worker: work.answer, again: second.answer };
    }
    return postgres;
  });
  return {
    bench: "novel",
    what: `seconds of whole processes, ${rounds} rounds, each with a tenant of its own`,
    machine: machine(),
    postgres,
    import_seconds: spread(imports),
    worker_seconds: spread(works),
    worker_peak_mb: spread(peaks),
    unchanged_import_seconds: spread(again),
    last,
  };
}

/** A command of the CLI as a process of its own. */
export function runCli(url: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): ChildProcess {
  return spawn(process.execPath, [main, ...args], {
    env: { ...process.env, DATABASE_URL: url, LOREGRAPH_LOG_LEVEL: "error", ...env },
    stdio: ["ignore", "pipe", "inherit"],
  });
}

/** Waits for a process and reads its answer. The peak is the kernel's own high-water mark, looked at ten times a second. */
export async function finish(child: ChildProcess): Promise<Finished> {
  const started = performance.now();
  let peakMb = 0;
  const timer = setInterval(() => {
    peakMb = Math.max(peakMb, peakOf(child.pid));
  }, 100);
  const ended = new Promise<number | null>((resolve) => child.once("exit", resolve));
  const printed = child.stdout ? await text(child.stdout) : "";
  const code = await ended;
  clearInterval(timer);
  if (code !== 0) throw new Error(`expected exit code 0, got: ${code}`);
  return { seconds: (performance.now() - started) / 1_000, peakMb, answer: JSON.parse(printed) };
}

function peakOf(pid: number | undefined): number {
  try {
    return Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) / 1_024;
  } catch {
    return 0; // it has just ended; the last look stands
  }
}

import { once } from "node:events";
import { createInterface } from "node:readline";
import { runCli } from "../novel.ts";
import { graphs } from "./tenant.ts";

export type Running = { readonly stop: () => Promise<void> };
export type Served = Running & { readonly url: string; readonly key: string };

/** A worker as a process of its own. */
export function startWorker(url: string, concurrency: number): Running {
  const child = runCli(url, ["worker", "--concurrency", String(concurrency)], settings);
  child.stdout?.resume();
  return { stop: () => stopped(child) };
}

/** The API as a process of its own, with a key for everything. */
export async function startApi(url: string): Promise<Served> {
  const key = await answerOf(url, ["keys", "create", "--name", "bench", "--admin", "--json"]);
  const child = runCli(url, ["serve", "--port", "0", "--json"], settings);
  const listening = await firstLine(child);
  return { url: String(listening.url), key: String(key.token), stop: () => stopped(child) };
}

const settings = {
  LOREGRAPH_GRAPHS: graphs,
  LOREGRAPH_REQUESTS_PER_MINUTE: "10000000",
  LOREGRAPH_DRAIN_MS: "500",
};

async function answerOf(url: string, args: readonly string[]): Promise<Record<string, unknown>> {
  const child = runCli(url, args, settings);
  const answer = await firstLine(child);
  if (child.exitCode === null) await once(child, "exit");
  return answer;
}

async function firstLine(child: ReturnType<typeof runCli>): Promise<Record<string, unknown>> {
  if (!child.stdout) throw new Error("expected a process whose stdout can be read");
  for await (const line of createInterface(child.stdout)) return JSON.parse(line);
  throw new Error("expected a line of JSON, got: none");
}

async function stopped(child: ReturnType<typeof runCli>): Promise<void> {
  if (child.exitCode !== null) return;
  child.kill("SIGTERM");
  await once(child, "exit");
}

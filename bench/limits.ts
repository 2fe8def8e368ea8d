import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { Pool } from "../src/db.ts";
import { contextOf } from "./context.ts";
import { ask } from "./limits/ask.ts";
import { type BenchOptions, machine, withDatabase } from "./support.ts";
import { takeInScenes } from "./worker.ts";

const [processes, allowed, answerMs] = [10, 600, 300];

/** Ten worker processes at a model that allows 600 requests in any minute: how much of it they use, and how often they are refused. */
export async function bench({ minutes = 3, only }: BenchOptions) {
  const kinds = (["configured", "learnt"] as const).filter((kind) => !only || only.split(",").includes(kind));
  return await withDatabase(async ({ pool, url, postgres }) => {
    const measured: Record<string, unknown> = {};
    for (const kind of kinds) measured[kind] = await measure(pool, url, kind, minutes);
    return {
      bench: "limits",
      what: `${processes} worker processes with 8 slots each, ${minutes} minutes; a model on loopback that answers after ${answerMs} ms, lets ${allowed} requests through in any minute and answers 429 with Retry-After beyond; runs of one question each`,
      machine: machine(),
      postgres,
      ...measured,
    };
  });
}

async function measure(pool: Pool, url: string, kind: "configured" | "learnt", minutes: number) {
  await pool.query("truncate pipeline_runs, entities, events, model_limits, model_callers cascade");
  // More than may be asked in the time.
  await takeInScenes(pool, contextOf(pool, [ask]).registry, allowed * (minutes + 2));
  const double = await startDouble();
  const limit = kind === "configured" ? String(allowed) : "";
  const workers = await Promise.all(
    Array.from({ length: processes }, () => startWorker(url, double.url, limit)),
  );
  const began = performance.now();
  for (const { say } of workers) say();
  await delay(minutes * 60_000);
  const [answered, refused] = [double.answered, double.refused].map((calls) =>
    perMinute(calls, began, minutes),
  );
  for (const { say } of workers) say();
  await Promise.all(workers.map(({ exited }) => exited));
  double.close();
  return { ...summary(answered ?? [], refused ?? []), ...(await inTheBooks(pool)) };
}

function summary(answered: readonly number[], refused: readonly number[]) {
  const sum = (counts: readonly number[]) => counts.reduce((total, count) => total + count, 0);
  const [used, no] = [sum(answered.slice(1)), sum(refused.slice(1))];
  const percent = (share: number) => Math.round(share * 10_000) / 100;
  return {
    answered_by_minute: answered,
    refused_by_minute: refused,
    percent_of_allowed: percent(sum(answered) / (allowed * answered.length)),
    percent_of_allowed_after_the_first_minute: percent(used / (allowed * (answered.length - 1))),
    percent_refused_after_the_first_minute: percent(no / (used + no)),
  };
}

function perMinute(calls: readonly number[], began: number, minutes: number): readonly number[] {
  return Array.from({ length: minutes }, (_, minute) => {
    const from = began + minute * 60_000;
    return calls.filter((at) => at >= from && at < from + 60_000).length;
  });
}

/** What became of the runs: a lost attempt is one that counts and did not answer. */
async function inTheBooks(pool: Pool) {
  const { rows } = await pool.query(
    `select count(*) filter (where status = 'success')::int as succeeded,
       coalesce(sum(attempt) - count(*) filter (where status = 'success'), 0)::int as attempts_lost,
       count(*) filter (where status = 'failed')::int as dead_letters,
       coalesce(sum(jsonb_array_length(errors)), 0)::int as times_sent_back_to_the_queue
     from pipeline_runs`,
  );
  const { rows: why } = await pool.query(
    `select error ->> 'code' as code, count(*)::int from pipeline_runs, jsonb_array_elements(errors) as error group by 1`,
  );
  return { ...rows[0], why: Object.fromEntries(why.map(({ code, count }) => [code, count])) };
}

/** At most so many requests in any minute. */
async function startDouble() {
  const [answered, refused]: [number[], number[]] = [[], []];
  let oldest = 0;
  const server = createServer(async (request, response) => {
    request.resume();
    const now = performance.now();
    while ((answered[oldest] ?? now) <= now - 60_000) oldest++;
    if (answered.length - oldest >= allowed) {
      refused.push(now);
      const wait = Math.max(1, Math.ceil(((answered[oldest] ?? now) + 60_000 - now) / 1_000));
      response.writeHead(429, { "content-type": "application/json", "retry-after": String(wait) }).end("{}");
      return;
    }
    answered.push(now);
    await delay(answerMs);
    response.writeHead(200, { "content-type": "application/json" }).end(completion);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const close = () => {
    server.closeAllConnections();
    server.close();
  };
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`, answered, refused, close };
}

const completion = JSON.stringify({
  ...{ id: "chatcmpl-1", object: "chat.completion", created: 1, model: "double" },
  choices: [{ index: 0, message: { role: "assistant", content: "Yes." }, finish_reason: "stop" }],
  usage: { prompt_tokens: 10, completion_tokens: 2, total_tokens: 12 },
});

async function startWorker(url: string, model: string, limit: string) {
  const file = fileURLToPath(new URL("limits/process.ts", import.meta.url));
  const child = spawn(process.execPath, [file, url, model, limit], { stdio: ["pipe", "pipe", "inherit"] });
  const exited = once(child, "exit");
  await createInterface({ input: child.stdout })[Symbol.asyncIterator]().next();
  return { exited, say: () => child.stdin.write("go\n") };
}

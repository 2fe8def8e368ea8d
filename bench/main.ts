import { parseArgs } from "node:util";

/** Each bench prints what it measured beside what, and how; see docs/benchmarks.md. */
const benches = {
  worker: () => import("./worker.ts"),
  novel: () => import("./novel.ts"),
  kill: () => import("./kill.ts"),
  reingest: () => import("./reingest.ts"),
  checkpoints: () => import("./checkpoints.ts"),
  fairness: () => import("./fairness.ts"),
  backlog: () => import("./backlog.ts"),
  bloat: () => import("./bloat.ts"),
  queue: () => import("./queue.ts"),
  slots: () => import("./slots.ts"),
  scale: () => import("./scale.ts"),
  limits: () => import("./limits.ts"),
} as const;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: "boolean", default: false },
    rounds: { type: "string", default: "5" },
    file: { type: "string" },
    seed: { type: "string" },
    only: { type: "string" },
    jobs: { type: "string" },
    minutes: { type: "string" },
  },
});

const name = positionals[0];
const [rounds, seed] = [Number(values.rounds), Number(values.seed ?? Date.now() % 1_000_000)];
if (name === undefined || !(name in benches) || !(rounds >= 1) || Number.isNaN(seed)) {
  const names = Object.keys(benches).join(" | ");
  console.error(
    `usage: npm run bench -- <${names}> [--json] [--rounds n] [--file novel.txt] [--seed n] [--only part,part] [--jobs n] [--minutes n]`,
  );
  process.exit(2);
}

const { bench } = await benches[name as keyof typeof benches]();
const number = (given: string | undefined) => (given === undefined ? undefined : Number(given));
const [jobs, minutes] = [number(values.jobs), number(values.minutes)];
const result = await bench({ rounds, seed, file: values.file, only: values.only, jobs, minutes });
console.log(values.json ? JSON.stringify(result) : JSON.stringify(result, null, 2));

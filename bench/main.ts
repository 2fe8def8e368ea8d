import { parseArgs } from "node:util";

/** Each bench prints what it measured beside what, and how; see docs/benchmarks.md. */
const benches = {
  worker: () => import("./worker.ts"),
  novel: () => import("./novel.ts"),
  kill: () => import("./kill.ts"),
} as const;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: "boolean", default: false },
    rounds: { type: "string", default: "5" },
    file: { type: "string" },
  },
});

const name = positionals[0];
if (name === undefined || !(name in benches)) {
  console.error(
    `usage: npm run bench -- <${Object.keys(benches).join(" | ")}> [--json] [--rounds n] [--file novel.txt]`,
  );
  process.exit(2);
}

const { bench } = await benches[name as keyof typeof benches]();
const result = await bench({ rounds: Number(values.rounds), file: values.file });
console.log(values.json ? JSON.stringify(result) : JSON.stringify(result, null, 2));

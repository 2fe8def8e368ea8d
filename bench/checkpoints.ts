import { type Case, type Cost, measure } from "./checkpoints/measure.ts";
import { contenders, type Durability } from "./checkpoints/savers.ts";
import { type BenchOptions, machine, packageVersion, spread, withDatabase } from "./support.ts";

const nodes = [1, 5, 20] as const;
const sizes = [1, 4, 50, 500];
const durabilities: readonly Durability[] = ["async", "sync", "exit"];

/** The case that the goals are set for. */
const goal: Case = { nodes: 5, kB: 4, durability: "async" };

/**
 * What a checkpointer costs a graph that does nothing else, beside the others, all in one run and interleaved. `only`
 * is `goal`, or the numbers of nodes to measure.
 */
export async function bench({ rounds, only }: BenchOptions) {
  const cases = only === "goal" ? [goal] : grid(only?.split(",").map(Number) ?? nodes);
  return await withDatabase(async ({ pool, postgres }) => {
    const measured = [];
    for (const of of cases) {
      const costs = new Map(contenders.map(({ name }) => [name, [] as Cost[]]));
      for (let round = -1; round < rounds; round++) {
        for (const contender of contenders) {
          const cost = await measure(pool, contender, of, runsOf(of));
          if (round >= 0) costs.get(contender.name)?.push(cost); // the first one warms up
        }
      }
      measured.push({ ...of, ...summary(costs) });
      process.stderr.write(`${JSON.stringify(measured.at(-1))}\n`);
    }
    return {
      bench: "checkpoints",
      what: `graphs of nodes that call nothing, beside a text of so many kB; 50 at a time, ${rounds} rounds, interleaved`,
      machine: machine(),
      postgres,
      versions: ["langgraph", "langgraph-checkpoint-postgres"].map((name) =>
        packageVersion(`@langchain/${name}`),
      ),
      measured,
    };
  });
}

function grid(counts: readonly number[]): readonly Case[] {
  return durabilities.flatMap((durability) =>
    counts.flatMap((count) => sizes.map((kB) => ({ nodes: count, kB, durability }))),
  );
}

/** Enough for a second or so. */
function runsOf({ nodes, kB }: Case): number {
  return Math.max(50, Math.round(400 / (2 + nodes + kB / 10)) * 2);
}

function summary(costs: ReadonlyMap<string, readonly Cost[]>) {
  const rate = (name: string) => spread((costs.get(name) ?? []).map((cost) => cost.runs_per_second)).median;
  const ratio = (name: string, other: string) => Math.round((rate(name) / rate(other)) * 100) / 100;
  const worker = "ours, in a worker";
  return {
    worker_by_postgres: ratio(worker, "PostgresSaver"),
    worker_by_memory: ratio(worker, "MemorySaver"),
    ours_by_postgres: ratio("ours", "PostgresSaver"),
    ours_by_memory: ratio("ours", "MemorySaver"),
    savers: Object.fromEntries([...costs].map(([name, all]) => [name, spreads(all)])),
  };
}

function spreads(all: readonly Cost[]) {
  const of = (figure: keyof Cost) => spread(all.map((cost) => cost[figure]));
  return {
    runs_per_second: of("runs_per_second"),
    cpu_ms: of("cpu_ms"),
    statements: of("statements").median,
    rows: of("rows").median,
    bytes: of("bytes").median,
    wal_bytes: of("wal_bytes").median,
  };
}

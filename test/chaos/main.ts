import { parseArgs } from "node:util";
import { described, drawSchedule } from "./schedule.ts";
import { openTheatre, storm } from "./storm.ts";

const usage = `usage: npm run chaos -- [--seed n] [--minutes m] [options]

Runs workers, users and faults at once against a Postgres of its own, and asks the ledger afterwards whether every
promise was kept. The seed decides all that is random; the same one brings the same faults again.

  --seed n        decides every random choice (defaults to one that is made up and printed)
  --minutes m     how long faults go on (defaults to 2); what is left to do afterwards comes on top
  --workers n     worker processes (defaults to 3)
  --entities n    entities in all, over four tenants (defaults to 300)
  --lease ms      how long an unrenewed lease holds (defaults to 4000)
  --json          prints the summary alone, as one line of JSON

Ends with 1 where a promise was broken.

example: npm run chaos -- --seed 7 --minutes 5`;

const { values } = parseArgs({
  options: {
    seed: { type: "string" },
    minutes: { type: "string", default: "2" },
    workers: { type: "string", default: "3" },
    entities: { type: "string", default: "300" },
    lease: { type: "string", default: "4000" },
    json: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});

if (values.help) {
  console.log(usage);
  process.exit(0);
}
const [seed, minutes, workers, entities, leaseMs] = [
  Number(values.seed ?? Date.now() % 1_000_000),
  ...[values.minutes, values.workers, values.entities, values.lease].map(Number),
] as [number, number, number, number, number];
if (![seed, minutes, workers, entities, leaseMs].every((value) => value >= 0)) {
  console.error(usage);
  process.exit(2);
}

const began = performance.now();
const say = (message: string) => {
  if (!values.json)
    console.log(`${((performance.now() - began) / 1_000).toFixed(1).padStart(7)} s  ${message}`);
};

say(`seed ${seed}`);
const theatre = await openTheatre({
  seed,
  workers,
  slots: 8,
  leaseMs,
  tenants: 4,
  entitiesPerTenant: Math.ceil(entities / 4),
  troubles: 8,
  thinksMs: [150, 250],
  smallDiskMb: 512,
  logLevel: "fatal",
});
const without = theatre.postgres.onSmallDisk ? [] : (["disk full"] as const);
const schedule = drawSchedule({ seed, ms: minutes * 60_000, workers, without });
for (const [lane, faults] of Object.entries(schedule)) {
  say(`${lane}: ${faults.length} faults`);
  for (const fault of faults) say(`  ${described(fault)}`);
}
const { broken, resumedMs, counts } = await storm(theatre, schedule, {
  ms: minutes * 60_000,
  onProgress: say,
});
await theatre.close();

const late =
  resumedMs > 2 * leaseMs ? [{ promise: "work goes on within twice the lease", cases: [{ resumedMs }] }] : [];
const kept = broken.length + late.length === 0;
const summary = {
  seed,
  kept,
  seconds: Math.round((performance.now() - began) / 1_000),
  without,
  resumedMs,
  ...counts,
  broken: [...broken, ...late],
};
console.log(values.json ? JSON.stringify(summary) : JSON.stringify(summary, null, 2));
if (!kept)
  console.error(`a promise was broken; again with: npm run chaos -- --seed ${seed} --minutes ${minutes}`);
process.exit(kept ? 0 : 1);

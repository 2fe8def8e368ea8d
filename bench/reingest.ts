import { neighbours } from "./reingest/neighbours.ts";
import { pause } from "./reingest/pause.ts";
import { plan } from "./reingest/plan.ts";
import { produce } from "./reingest/produce.ts";
import { read } from "./reingest/reads.ts";
import { makeTenant } from "./reingest/tenant.ts";
import { type BenchOptions, machine, withDatabase } from "./support.ts";

const million = 1_000_000;

/** What a team feels of a reingest: how long planning takes, how fast it is made, and what it does to everybody else. */
export async function bench({ rounds, only }: BenchOptions) {
  const asked = (part: string) => only === undefined || only.split(",").includes(part);
  const measured: Record<string, unknown> = {};
  const postgres = await withDatabase(async (database) => {
    if (["plan", "skip", "pause"].some(asked)) {
      const tenant = await makeTenant(database.pool, { entities: million, changed: million / 100 });
      if (asked("plan")) measured.plan = await plan(database, tenant, rounds);
      if (asked("skip")) measured.skip = await produce(database, tenant, { batch_size: 1_000 }, rounds);
      if (asked("pause")) measured.pause = await pause(database, tenant, rounds);
    }
    if (asked("produce")) {
      const tenant = await makeTenant(database.pool, { entities: 200_000 });
      measured.produce = await produce(database, tenant, { batch_size: 2_000, force: true }, rounds);
    }
    return database.postgres;
  });
  if (asked("reads")) measured.reads = await withDatabase(read);
  if (asked("neighbours")) measured.neighbours = await withDatabase(neighbours);
  return {
    bench: "reingest",
    what: `a tenant of ${million} entities of which 1 % changed, a producer alone, reads and neighbours beside a busy worker; ${rounds} rounds`,
    machine: machine(),
    postgres,
    ...measured,
  };
}

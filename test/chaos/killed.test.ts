import { randomUUID } from "node:crypto";
import pLimit from "p-limit";
import { beforeAll, expect, onTestFinished, test } from "vitest";
import { acceptEntities } from "../../src/intake.ts";
import { scene } from "../support/content.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { startProcess } from "../support/process.ts";
import { claimAndAttempt, contextOf } from "./doomed.ts";
import { mortal } from "./mortal.ts";
import { reapNow, workOff } from "./recover.ts";
import { type Remains, remainsOf } from "./remains.ts";
import { type Boundary, type Sent, wireTo } from "./wire.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});

/** How many processes are killed. Each takes as long to start as a thousand statements take. */
const kills = 6;

test("a process that is killed at a statement leaves what one leaves that dies there within a test", {
  timeout: 240_000,
}, async () => {
  const calm = await dieWithin();
  const boundaries = boundariesOf(calm.sent);
  const deaths = await pLimit(6).map(boundaries, dieWithin);
  const killed = await pLimit(2).map(spread(boundaries, kills), dieKilled);

  expect(calm.sent.length).toBeGreaterThan(kills);
  expect(killed.map(({ died }) => died)).toEqual(Array(kills).fill(true));
  const known = deaths.map(({ atDeath }) => JSON.stringify(atDeath));
  for (const { atDeath, remains } of killed) {
    expect(known).toContain(JSON.stringify(atDeath));
    expect(remains).toEqual(calm.remains);
  }
  // More than one thing can be left: nothing done yet, a run that is held, all done.
  expect(new Set(killed.map(({ atDeath }) => JSON.stringify(atDeath))).size).toBeGreaterThan(1);
});

type Lived = {
  readonly died: boolean;
  readonly sent: readonly Sent[];
  /** What is left at the death, and what is in the end. */
  readonly atDeath: unknown;
  readonly remains: Remains;
};

function boundariesOf(sent: readonly Sent[]): readonly Boundary[] {
  return sent.flatMap(({ committed }, index): Boundary[] => [
    { kind: "before", nth: index + 1 },
    ...(committed ? [{ kind: "unanswered", nth: index + 1 } as const] : []),
  ]);
}

/** So many of them, from the first to the last. */
function spread<Value>(values: readonly Value[], count: number): readonly Value[] {
  const last = values.length - 1;
  return Array.from({ length: count }, (_, n) => values[Math.round((n * last) / (count - 1))]).filter(
    (value) => value !== undefined,
  );
}

/** Lives, and at a boundary dies, within this process. */
async function dieWithin(boundary?: Boundary): Promise<Lived> {
  const world = await newWorld();
  const { pool, url, wire, bury } = await mortal(database, boundary);
  await Promise.race([claimAndAttempt({ pool, url }, world.mark), wire.died]);
  if (wire.isDead) await wire.mourned();
  const lived = await recovered(world);
  await bury();
  return { died: wire.isDead, sent: wire.sent, ...lived };
}

/** The same in a process of its own, which is killed. */
async function dieKilled(boundary: Boundary): Promise<Lived> {
  const world = await newWorld();
  const wire = await wireTo(database.url, {
    observer: database.pool,
    boundary,
    onDeath: () => process.child.kill("SIGKILL"),
  });
  onTestFinished(() => wire.close());
  const process = startProcess("../chaos/doomed.ts", [wire.url, world.mark]);
  const { signal } = await process.finish();
  expect(signal, process.errors()).toBe("SIGKILL");
  await wire.mourned();
  return { died: wire.isDead, sent: wire.sent, ...(await recovered(world)) };
}

type World = { readonly tenant_id: string; readonly mark: string };

/** One scene of a tenant of its own, to be read by pipelines of its own. */
async function newWorld(): Promise<World> {
  const tenant_id = randomUUID();
  const mark = `-w${tenant_id.slice(0, 8)}`;
  const entities = [scene({ source_id: "00000000-0000-4000-8000-000000000001" })];
  const { pool, registry } = contextOf(database, mark);
  await acceptEntities(pool, registry, { tenant_id, source: "test", entities });
  return { tenant_id, mark };
}

async function recovered({ tenant_id, mark }: World) {
  const { rows } = await database.pool.query(
    `select status, attempt, graph_started_at is not null as started
     from pipeline_runs where tenant_id = $1 order by pipeline`,
    [tenant_id],
  );
  const atDeath = { runs: rows, left: await remainsOf(database.pool, tenant_id, mark) };
  await reapNow(database, tenant_id);
  await workOff(contextOf(database, mark), tenant_id);
  return { atDeath, remains: await remainsOf(database.pool, tenant_id, mark) };
}

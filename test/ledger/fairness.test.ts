import { randomUUID } from "node:crypto";
import fc from "fast-check";
import { beforeAll, expect, test } from "vitest";
import { ClaimMemory } from "../../src/ledger/claim-memory.ts";
import { enqueueRuns } from "../../src/ledger/enqueue.ts";
import type { ClaimedRun } from "../../src/ledger/run.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { claim, newPipeline, request } from "../support/ledger.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});

/** Whether it remembers anything, or is a new process each time. */
const claimers = { "that remembers": () => new ClaimMemory(), "that knows nothing": () => undefined };

for (const [who, memoryOf] of Object.entries(claimers)) {
  test(`nine equal tenants get equally much of a claimer ${who}, however few runs end at a time`, async () => {
    const [pipeline, memory] = [newPipeline(), memoryOf()];
    const tenants: readonly string[] = Array.from({ length: 9 }, () => randomUUID());
    for (const tenant_id of tenants) await enqueue(tenant_id, pipeline, 40);

    const served = tenants.map(() => 0);
    const note = ({ tenant_id }: ClaimedRun) => {
      const nth = tenants.indexOf(tenant_id);
      served[nth] = (served[nth] ?? 0) + 1;
    };
    for (const places of Array.from({ length: 36 }, (_, nth) => 1 + (nth % 7))) {
      const claimed = await claim(database.pool, pipeline, { limit: places, memory });
      claimed.forEach(note);
      await end(claimed);
    }

    expect(jain(served)).toBeGreaterThan(0.99);
    expect(Math.max(...served) - Math.min(...served)).toBeLessThanOrEqual(1);
  });

  test(`nine equal tenants get equally much of ten slots that end by the same two groups, from a claimer ${who}`, async () => {
    const [pipeline, memory] = [newPipeline(), memoryOf()];
    const tenants: readonly string[] = Array.from({ length: 9 }, () => randomUUID());
    for (const tenant_id of tenants) await enqueue(tenant_id, pipeline, 40);

    const served = new Map(tenants.map((tenant_id) => [tenant_id, 0]));
    const groups: (readonly ClaimedRun[])[] = [[], []];
    for (let round = 0; round < 18; round++) {
      for (const [group, limit] of [8, 2].entries()) {
        await end(groups[group] ?? []);
        const claimed = await claim(database.pool, pipeline, { limit, memory });
        groups[group] = claimed;
        for (const { tenant_id } of claimed) served.set(tenant_id, (served.get(tenant_id) ?? 0) + 1);
      }
    }

    expect(jain([...served.values()])).toBeGreaterThan(0.99);
    expect(Math.max(...served.values()) - Math.min(...served.values())).toBeLessThanOrEqual(2);
  });

  test(`tenants get their weights of slots that are always full from a claimer ${who}`, async () => {
    const [pipeline, memory] = [newPipeline(), memoryOf()];
    const weights = [1, 2, 3];
    const tenants: readonly string[] = weights.map(() => randomUUID());
    for (const [nth, tenant_id] of tenants.entries()) {
      await database.pool.query("insert into tenant_controls (tenant_id, weight) values ($1, $2)", [
        tenant_id,
        weights[nth],
      ]);
      await enqueue(tenant_id, pipeline, 60);
    }

    const running = [...(await claim(database.pool, pipeline, { limit: 12, memory }))];
    const served = tenants.map(() => 0);
    for (let ended = 0; ended < 60; ended++) {
      await end(running.splice(0, 1));
      const next = await claim(database.pool, pipeline, { limit: 1, memory });
      running.push(...next);
      for (const { tenant_id } of next) {
        const nth = tenants.indexOf(tenant_id);
        served[nth] = (served[nth] ?? 0) + 1;
      }
    }

    for (const [nth, weight] of weights.entries())
      expect(Math.abs((served[nth] ?? 0) - weight * 10)).toBeLessThanOrEqual(2);
  });
}

test("each of many minnows waits for a whale no longer than one round of all tenants", async () => {
  const pipeline = newPipeline();
  const whale = randomUUID();
  await enqueue(whale, pipeline, 1_000);
  const minnows = Array.from({ length: 20 }, () => randomUUID());
  for (const minnow of minnows) await enqueue(minnow, pipeline, 1);

  const claimed: ClaimedRun[] = [];
  for (let n = 0; n < 6; n++) {
    const next = await claim(database.pool, pipeline, { limit: 4 });
    claimed.push(...next);
    await end(next);
  }
  expect(new Set(claimed.map(({ tenant_id }) => tenant_id))).toEqual(new Set([whale, ...minnows]));
});

const cap = fc.option(fc.nat(3), { nil: null, freq: 2 });
const scene = fc.record({
  tenants: fc.array(fc.record({ cap, paused: fc.boolean() }), { minLength: 1, maxLength: 4 }),
  pipelines: fc.array(fc.record({ cap, paused: fc.boolean() }), { minLength: 1, maxLength: 3 }),
  runs: fc.array(
    fc.record({ tenant: fc.nat(3), pipeline: fc.nat(2), priority: fc.nat(1), later: fc.boolean() }),
    { minLength: 1, maxLength: 24 },
  ),
  claims: fc.array(fc.integer({ min: 1, max: 8 }), { minLength: 1, maxLength: 3 }),
});
type Scene = typeof scene extends fc.Arbitrary<infer T> ? T : never;
type Party = Scene["tenants"][number] & { readonly id: string };

test("no place stays empty while a run may start, and no cap is exceeded, whatever is capped, paused or due", async () => {
  await fc.assert(fc.asyncProperty(scene, expectFullAndCapped), { numRuns: 40 });
});

async function expectFullAndCapped({ tenants, pipelines, runs, claims }: Scene): Promise<void> {
  const [owners, kinds] = [tenants.map(partyOf(randomUUID)), pipelines.map(partyOf(newPipeline))];
  const waiting = new Set<Wanted>();
  for (const run of runs) waiting.add(await want(run, owners, kinds));
  await control(owners, kinds);

  const running: Wanted[] = [];
  for (const limit of claims) {
    const claimed = await claim(database.pool, "", { pipelines: kinds.map(({ id }) => id), limit });
    for (const { id } of claimed) {
      const run = [...waiting].find((each) => each.id === id);
      if (run === undefined) throw new Error(`expected a run that waits, got: ${id}`);
      waiting.delete(run);
      running.push(run);
    }
    const mayStart = [...waiting].filter((run) => !run.later && hasRoom(run, running));
    if (claimed.length < limit) expect(mayStart).toEqual([]);
    for (const run of running) expect(isOver(run, running)).toBe(false);
  }
}

const partyOf =
  (name: () => string) =>
  (given: Omit<Party, "id">): Party => ({ ...given, id: name() });

type Wanted = { readonly id: string; readonly owner: Party; readonly kind: Party; readonly later: boolean };

async function want(
  { tenant, pipeline, priority, later }: Scene["runs"][number],
  owners: readonly Party[],
  kinds: readonly Party[],
): Promise<Wanted> {
  const [owner, kind] = [owners[tenant % owners.length], kinds[pipeline % kinds.length]];
  if (!owner || !kind) throw new Error("expected a tenant and a pipeline");
  const wanted = request({ tenant_id: owner.id, pipeline: kind.id, priority });
  const [enqueued] = await enqueueRuns(database.pool, [wanted]);
  const id = enqueued?.id ?? "";
  if (later)
    await database.pool.query(
      "update pipeline_runs set run_after = now() + interval '1 hour' where id = $1",
      [id],
    );
  return { id, owner, kind, later };
}

async function control(owners: readonly Party[], kinds: readonly Party[]): Promise<void> {
  for (const { id, cap: most, paused } of owners)
    await database.pool.query(
      "insert into tenant_controls (tenant_id, max_running, paused_at) values ($1, $2, case when $3 then now() end)",
      [id, most, paused],
    );
  for (const { id, cap: most, paused } of kinds)
    await database.pool.query(
      "insert into pipeline_controls (pipeline, max_running, paused_at) values ($1, $2, case when $3 then now() end)",
      [id, most, paused],
    );
}

function hasRoom(run: Wanted, running: readonly Wanted[]): boolean {
  if (run.owner.paused || run.kind.paused) return false;
  return !isOver(run, [...running, run]);
}

function isOver({ owner, kind }: Wanted, running: readonly Wanted[]): boolean {
  const ofOwner = running.filter((each) => each.owner === owner).length;
  const ofKind = running.filter((each) => each.kind === kind).length;
  return ofOwner > (owner.cap ?? Number.POSITIVE_INFINITY) || ofKind > (kind.cap ?? Number.POSITIVE_INFINITY);
}

/** Jain's index of fairness: 1 where all get the same, 1 / n where one gets everything. */
function jain(shares: readonly number[]): number {
  const sum = shares.reduce((all, share) => all + share, 0);
  return sum ** 2 / (shares.length * shares.reduce((all, share) => all + share ** 2, 0));
}

async function enqueue(tenant_id: string, pipeline: string, runs: number): Promise<void> {
  await enqueueRuns(
    database.pool,
    Array.from({ length: runs }, () => request({ tenant_id, pipeline })),
  );
}

async function end(runs: readonly ClaimedRun[]): Promise<void> {
  await database.pool.query(
    `update pipeline_runs set status = 'success', outcome = 'completed', finished_at = now(),
       lease_token = null, lease_expires_at = null, worker = null
     where id = any ($1)`,
    [runs.map(({ id }) => id)],
  );
}

import { randomUUID } from "node:crypto";
import { beforeAll, describe, expect, test } from "vitest";
import type { Pool } from "../../src/db.ts";
import { succeedRun } from "../../src/ledger/attempt.ts";
import { enqueueRuns } from "../../src/ledger/enqueue.ts";
import { releaseRuns } from "../../src/ledger/release.ts";
import type { ClaimedRun, RunRequest } from "../../src/ledger/run.ts";
import { noUsage } from "../../src/pipeline.ts";
import { poolDoing } from "../support/asking.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { again, claim, newPipeline, noteServed, only, request, runOf, stamp } from "../support/ledger.ts";
import { gate } from "../support/runtime.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});

test("gives each run a lease of its own", async () => {
  const pipeline = newPipeline();
  await enqueue(2, { pipeline });
  const [first, second] = await claim(database.pool, pipeline, { worker: "w-1", leaseMs: 5_000 });

  expect(first?.lease_token).not.toBe(second?.lease_token);
  const run = await runOf(database.pool, only([first]) ?? { id: "" });
  expect(run).toMatchObject({
    status: "running",
    worker: "w-1",
    lease_token: first?.lease_token,
    attempt: 0,
  });
  expect(Number(run.lease_expires_at) - Number(run.started_at)).toBe(5_000);
});

test("claims no run before its time", async () => {
  const pipeline = newPipeline();
  const id = only(await enqueue(1, { pipeline }));
  await database.pool.query("update pipeline_runs set run_after = now() + interval '1 hour' where id = $1", [
    id,
  ]);

  expect(await claim(database.pool, pipeline)).toEqual([]);
});

test("claims only runs of the pipelines that it names", async () => {
  const [ours, others] = [newPipeline(), newPipeline()];
  await enqueue(1, { pipeline: others });

  expect(await claim(database.pool, ours)).toEqual([]);
});

test("says whether a run was claimed before", async () => {
  const pipeline = newPipeline();
  await enqueue(1, { pipeline });
  const first = only(await claim(database.pool, pipeline));
  await releaseRuns(database.pool, [first]);
  const second = only(await claim(database.pool, pipeline));

  expect([first.claimed_before, second.claimed_before]).toEqual([false, true]);
});

test("leaves a run whose source type this version does not know to a worker that does", async () => {
  const pipeline = newPipeline();
  const [strange] = await enqueue(2, { pipeline });
  await database.pool.query("update pipeline_runs set source_type = 'hologram' where id = $1", [strange]);

  expect(await claim(database.pool, pipeline)).toHaveLength(1);
});

describe("fairness", () => {
  test("a large backlog delays another tenant's one run by no more than a claim", async () => {
    const pipeline = newPipeline();
    await enqueue(200, { pipeline, tenant_id: randomUUID() });
    const small = randomUUID();
    await enqueue(1, { pipeline, tenant_id: small });

    const claims = [await claimAndFinish(pipeline, 1), await claimAndFinish(pipeline, 1)].flat();
    expect(claims.map(({ tenant_id }) => tenant_id)).toContain(small);
  });

  test("nor where a pipeline's cap lets few through at a time", async () => {
    const pipeline = newPipeline();
    await capPipeline(pipeline, 2);
    await enqueue(50, { pipeline, tenant_id: randomUUID() });
    const small = randomUUID();
    await enqueue(1, { pipeline, tenant_id: small });

    const claims = [await claimAndFinish(pipeline, 10), await claimAndFinish(pipeline, 10)].flat();
    expect(claims.map(({ tenant_id }) => tenant_id)).toContain(small);
  });

  test("one claim serves every tenant before it serves one twice", async () => {
    const pipeline = newPipeline();
    const tenants = Array.from({ length: 4 }, () => randomUUID());
    for (const tenant_id of tenants) await enqueue(10, { pipeline, tenant_id });

    const claims = await claim(database.pool, pipeline, { limit: 4 });
    expect(new Set(claims.map(({ tenant_id }) => tenant_id))).toEqual(new Set(tenants));
  });

  test("tenants share slots by their weights", async () => {
    const pipeline = newPipeline();
    const [heavy, light] = [randomUUID(), randomUUID()];
    await controlTenant(heavy, { weight: 3 });
    for (const tenant_id of [light, heavy]) await enqueue(20, { pipeline, tenant_id });

    const claims = await claim(database.pool, pipeline, { limit: 8 });
    expect(countOf(claims, heavy)).toBe(6);
    expect(countOf(claims, light)).toBe(2);
  });

  test("a heavy tenant never shuts a light one out, however few the slots", async () => {
    const pipeline = newPipeline();
    const [heavy, light] = [randomUUID(), randomUUID()];
    await controlTenant(heavy, { weight: 100 });
    await enqueue(20, { pipeline, tenant_id: heavy });
    await enqueue(1, { pipeline, tenant_id: light });

    const claims = [await claimAndFinish(pipeline, 1), await claimAndFinish(pipeline, 1)].flat();
    expect(countOf(claims, light)).toBe(1);
  });

  test("within a tenant, the higher priority comes first, then the longest due", async () => {
    const pipeline = newPipeline();
    const tenant_id = randomUUID();
    const [older] = await enqueue(1, { pipeline, tenant_id });
    const [newer] = await enqueue(1, { pipeline, tenant_id });
    const [urgent] = await enqueue(1, { pipeline, tenant_id, priority: 9 });

    const ids = [];
    for (let i = 0; i < 3; i++) ids.push(only(await claim(database.pool, pipeline, { limit: 1 })).id);
    expect(ids).toEqual([urgent, older, newer]);
  });
});

describe("caps", () => {
  test("of a tenant hold while many claim at once", async () => {
    const pipeline = newPipeline();
    const tenant_id = randomUUID();
    await controlTenant(tenant_id, { max_running: 5 });
    await enqueue(40, { pipeline, tenant_id });

    expect(await claimAtOnce(pipeline, { claimers: 8, limit: 3 })).toHaveLength(5);
    expect(await claim(database.pool, pipeline)).toEqual([]);
  });

  test("of a pipeline hold while many claim at once", async () => {
    const pipeline = newPipeline();
    await capPipeline(pipeline, 5);
    await enqueue(40, { pipeline });

    expect(await claimAtOnce(pipeline, { claimers: 8, limit: 3 })).toHaveLength(5);
    expect(await claim(database.pool, pipeline)).toEqual([]);
  });

  test("let the next run in when one ends", async () => {
    const pipeline = newPipeline();
    await capPipeline(pipeline, 1);
    await enqueue(2, { pipeline });

    expect(await claimAndFinish(pipeline, 10)).toHaveLength(1);
    expect(await claimAndFinish(pipeline, 10)).toHaveLength(1);
  });

  test("a pipeline at its cap does not use up the places of a tenant's other pipelines", async () => {
    const [full, open] = [newPipeline(), newPipeline()];
    const tenant_id = randomUUID();
    await capPipeline(full, 0);
    await controlTenant(tenant_id, { max_running: 2 });
    await enqueue(5, { pipeline: full, tenant_id, priority: 9 });
    await enqueue(5, { pipeline: open, tenant_id });

    expect(await claim(database.pool, full, { pipelines: [full, open] })).toHaveLength(2);
  });

  test("a tenant at its cap does not use up the places of a pipeline's other tenants", async () => {
    const pipeline = newPipeline();
    const full = randomUUID();
    await capPipeline(pipeline, 2);
    await controlTenant(full, { max_running: 0 });
    await enqueue(5, { pipeline, tenant_id: full, priority: 9 });
    await enqueue(5, { pipeline });

    expect(await claim(database.pool, pipeline)).toHaveLength(2);
  });
});

test("a process that is frozen in its claim keeps nobody from theirs for long", async () => {
  const pipeline = newPipeline();
  await enqueue(2, { pipeline });
  const reached = gate();
  const frozen = claim(frozenAtClaim(database.pool, reached.pass), pipeline);
  await reached.reached;

  expect(await claim(database.pool, pipeline)).toHaveLength(2);
  reached.open();
  await expect(frozen).rejects.toThrow();
});

/** The pool of a process that stops at its claim, whose turn it has, until it is let on. */
function frozenAtClaim(pool: Pool, pass: () => Promise<void>): Pool {
  return poolDoing(pool, async (_, statement) => {
    if (typeof statement !== "string" && statement.name === "claim") await pass();
  });
}

describe("places that are free", () => {
  test("are not left empty because many tenants wait for few of a pipeline's", async () => {
    const [capped, open] = [newPipeline(), newPipeline()];
    await capPipeline(capped, 1);
    await enqueue(8, { pipeline: capped });
    const served = randomUUID();
    await enqueue(2, { pipeline: open, tenant_id: served });
    await noteServed(database.pool, served);

    const claims = await claim(database.pool, open, { pipelines: [capped, open], limit: 4 });

    expect(claims.map(({ pipeline }) => pipeline).toSorted()).toEqual([capped, open, open].toSorted());
  });

  test("are not left empty because a tenant's first runs may not start yet", async () => {
    const [capped, open] = [newPipeline(), newPipeline()];
    const tenant_id = randomUUID();
    await capPipeline(capped, 1);
    await controlTenant(tenant_id, { max_running: 2 });
    await enqueue(5, { pipeline: capped, tenant_id, priority: 9 });
    await enqueue(5, { pipeline: open, tenant_id });

    expect(await claim(database.pool, open, { pipelines: [capped, open] })).toHaveLength(2);
  });
});

describe("a pause is one row", () => {
  test("of a tenant", async () => {
    const pipeline = newPipeline();
    const paused = randomUUID();
    await enqueue(5, { pipeline, tenant_id: paused });
    const [other] = await enqueue(1, { pipeline });
    await database.pool.query("insert into tenant_controls (tenant_id, paused_at) values ($1, now())", [
      paused,
    ]);
    expect((await claim(database.pool, pipeline)).map(({ id }) => id)).toEqual([other]);

    await database.pool.query("update tenant_controls set paused_at = null where tenant_id = $1", [paused]);
    expect(await claim(database.pool, pipeline)).toHaveLength(5);
  });

  test("of a pipeline", async () => {
    const [paused, other] = [newPipeline(), newPipeline()];
    await enqueue(5, { pipeline: paused });
    await enqueue(1, { pipeline: other });
    await database.pool.query("insert into pipeline_controls (pipeline, paused_at) values ($1, now())", [
      paused,
    ]);

    const claims = await claim(database.pool, paused, { pipelines: [paused, other] });
    expect(claims.map(({ pipeline }) => pipeline)).toEqual([other]);
  });
});

test("no run is claimed twice, none is left, and no key runs twice while many claim and finish", async () => {
  const pipeline = newPipeline();
  const tenants = Array.from({ length: 5 }, () => randomUUID());
  const wanted = Array.from({ length: 300 }, (_, n) => request({ pipeline, ...tenantOf(tenants, n) }));
  await enqueueRuns(database.pool, wanted);
  const runningKeys = new Set<string>();
  const claims: ClaimedRun[] = [];
  const claimUntilEmpty = async (limit: number, mayRequeue: boolean) => {
    for (let got = await claim(database.pool, pipeline, { limit }); got.length > 0; ) {
      claims.push(...got);
      for (const run of got) {
        expect(runningKeys.has(run.source_id)).toBe(false);
        runningKeys.add(run.source_id);
        if (mayRequeue && run.source_version === 1)
          await enqueueRuns(database.pool, [again(run, { source_version: 2 })]);
      }
      for (const run of got) {
        runningKeys.delete(run.source_id);
        await finish(run);
      }
      got = await claim(database.pool, pipeline, { limit });
    }
  };
  await Promise.all([1, 2, 3, 5, 7, 11].map((limit) => claimUntilEmpty(limit, limit > 5)));
  await claimUntilEmpty(50, false);

  expect(new Set(claims.map(({ lease_token }) => lease_token)).size).toBe(claims.length);
  expect(new Set(claims.map(({ id }) => id)).size).toBe(claims.length);
  expect(new Set(claims.map(({ source_id }) => source_id)).size).toBe(300);
  expect(claims.length).toBeGreaterThan(300);
});

function tenantOf(tenants: readonly string[], n: number): { tenant_id: string } {
  return { tenant_id: tenants[n % tenants.length] ?? "" };
}

async function enqueue(
  runs: number,
  given: Partial<RunRequest> & { pipeline: string },
): Promise<readonly string[]> {
  const wanted = Array.from({ length: runs }, () => request(given));
  return (await enqueueRuns(database.pool, wanted)).map(({ id }) => id);
}

async function claimAtOnce(
  pipeline: string,
  { claimers, limit }: { claimers: number; limit: number },
): Promise<readonly ClaimedRun[]> {
  const claims = Array.from({ length: claimers }, () => claim(database.pool, pipeline, { limit }));
  return (await Promise.all(claims)).flat();
}

async function claimAndFinish(pipeline: string, limit: number): Promise<readonly ClaimedRun[]> {
  const runs = await claim(database.pool, pipeline, { limit });
  for (const run of runs) await finish(run);
  return runs;
}

async function finish(run: ClaimedRun): Promise<void> {
  await succeedRun(database.pool, run, { outcome: "completed", stamp, usage: noUsage });
}

async function capPipeline(pipeline: string, max_running: number): Promise<void> {
  await database.pool.query("insert into pipeline_controls (pipeline, max_running) values ($1, $2)", [
    pipeline,
    max_running,
  ]);
}

async function controlTenant(
  tenant_id: string,
  { weight = 1, max_running = null as number | null },
): Promise<void> {
  await database.pool.query(
    "insert into tenant_controls (tenant_id, weight, max_running) values ($1, $2, $3)",
    [tenant_id, weight, max_running],
  );
}

function countOf(claims: readonly ClaimedRun[], tenant: string): number {
  return claims.filter(({ tenant_id }) => tenant_id === tenant).length;
}

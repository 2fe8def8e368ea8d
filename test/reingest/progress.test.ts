import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { beforeAll, expect, test } from "vitest";
import { acceptEntities } from "../../src/intake.ts";
import { redriveDeadLetters } from "../../src/ledger/redrive.ts";
import { type Progress, progressOf } from "../../src/reingest/progress.ts";
import { ReingestRequest } from "../../src/reingest/request.ts";
import { startReingest } from "../../src/reingest/start.ts";
import { hasEnded } from "../../src/reingest/states.ts";
import { pauseReingest, resumeReingest } from "../../src/reingest/steer.ts";
import { scene } from "../support/content.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { echo } from "../support/pipelines.ts";
import { enqueueFor, fillTenant, newReingest, startProducer, untilEnded } from "../support/reingests.ts";
import { runtime, startWorker } from "../support/runtime.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});

test("never goes backwards, whatever is retried, redriven, changed or steered meanwhile", {
  timeout: 60_000,
}, async () => {
  const tries = new Map<string, number>();
  const context = runtime(
    database,
    // A third of the scenes fail once, a ninth for good.
    echo(({ source_id }) => {
      const tried = (tries.get(source_id) ?? 0) + 1;
      tries.set(source_id, tried);
      const dice = Number.parseInt(source_id.slice(0, 6), 16);
      if (dice % 9 === 0 || (dice % 3 === 0 && tried === 1)) throw new Error("not this time");
      return { said: source_id };
    }),
  );
  const tenant_id = randomUUID();
  await fillTenant(context, tenant_id, 45, { everyNth: 4 });
  const { reingest, counts } = await startReingest(
    context,
    tenant_id,
    ReingestRequest.parse({ batch_size: 8 }),
  );
  startProducer(context, database, { pendingBound: 12 });
  await using _worker = startWorker(context, database, { concurrency: 4, pollMs: 50 });

  const seen: Progress[] = [];
  for (let looks = 1; !hasEnded(seen.at(-1)?.status ?? "planned"); looks++) {
    seen.push(await progressOf(database.pool, reingest));
    if (looks % 7 === 0) await redriveDeadLetters(database.pool, { tenant_id, limit: 1 });
    if (looks % 11 === 0) await change(context, tenant_id, looks);
    if (looks % 16 === 0) await pauseAndResume(context, reingest);
    await delay(10);
  }

  for (const [at, later] of seen.entries()) {
    const before = seen[at - 1] ?? later;
    expect(later.total).toBeLessThanOrEqual(before.total);
    expect(later.settled).toBeLessThanOrEqual(later.total);
    for (const figure of ["settled", "done", "skipped", "failed", "cancelled", "tokens", "cost_usd"] as const)
      expect(later[figure]).toBeGreaterThanOrEqual(before[figure]);
  }
  const last = seen.at(-1);
  expect(seen[0]?.total).toBe(counts.pairs);
  expect(last).toMatchObject({ status: "completed", running: 0, pending: 0, waiting: 0, eta_seconds: null });
  expect(last?.settled).toBe(last?.total);
  expect(last?.total).toBeGreaterThan(counts.pairs * 0.8);
  expect(last?.failed).toBeGreaterThan(0);
  expect(seen.length).toBeGreaterThan(10);
});

/** As a user does: another text for one of the scenes, which then is wanted by somebody else too. */
async function change(context: ReturnType<typeof runtime>, tenant_id: string, n: number): Promise<void> {
  const { rows } = await database.pool.query(
    "select source_id, title, metadata from entities where tenant_id = $1 order by source_id offset $2 limit 1",
    [tenant_id, n % 45],
  );
  const entities = [scene({ ...rows[0], text: `Another text ${n}.` })];
  await acceptEntities(database.pool, context.registry, { tenant_id, source: "test", entities });
}

async function pauseAndResume(
  context: ReturnType<typeof runtime>,
  reingest: { tenant_id: string; id: string },
): Promise<void> {
  const { status } = await progressOf(database.pool, reingest);
  if (status !== "running") return;
  try {
    await pauseReingest(context, reingest);
    await resumeReingest(context, reingest);
  } catch (error) {
    // It may have completed just now.
    expect(error).toMatchObject({ code: "STATE_TRANSITION" });
  }
}

test("counts what is open by its state, and what follows by its pipeline", async () => {
  const reingest = await newReingest(database.pool, { total: 10, skipped: 2, enqueued: 5 });
  await enqueueFor(database.pool, reingest, 3);
  await enqueueFor(database.pool, reingest, 2, { pipeline: "mood", parent_run_id: randomUUID() });

  expect(await progressOf(database.pool, reingest)).toMatchObject({
    status: "running",
    total: 10,
    settled: 2,
    skipped: 2,
    pending: 5,
    running: 0,
    follow_on: { mood: { ended: 0, open: 2 } },
    eta_seconds: null,
  });
});

test("tells its rate from the time that it ran, not from that in which it was paused", async () => {
  const context = runtime(database);
  const reingest = await newReingest(database.pool, { total: 100, enqueued: 100 });
  await database.pool.query(
    `insert into reingest_tallies (tenant_id, reingest_id, pipeline, shard, done) values ($1, $2, 'echo', 0, 30)`,
    [reingest.tenant_id, reingest.id],
  );
  await pauseReingest(context, reingest);
  await resumeReingest(context, reingest);
  // It began an hour ago and was paused but for the first and the last minute.
  await database.pool.query("update reingests set started_at = now() - interval '60 minutes' where id = $1", [
    reingest.id,
  ]);
  await database.pool.query(
    `update events set occurred_at = now() - case event when 'reingest.paused' then interval '59 minutes' else interval '1 minute' end
     where tenant_id = $1`,
    [reingest.tenant_id],
  );
  const { runs_per_minute, eta_seconds } = await progressOf(database.pool, reingest);

  expect(runs_per_minute).toBeCloseTo(15, 0);
  expect(eta_seconds).toBeCloseTo(280, -1);
});

test("expects no run before the limit of runs a minute lets it start", async () => {
  const reingest = await newReingest(database.pool, {
    total: 100,
    enqueued: 100,
    max_runs_per_minute: 10,
    started_at: new Date(Date.now() - 60_000),
  });
  await database.pool.query(
    `insert into reingest_tallies (tenant_id, reingest_id, pipeline, shard, done) values ($1, $2, 'echo', 0, 30)`,
    [reingest.tenant_id, reingest.id],
  );

  const { runs_per_minute, eta_seconds } = await progressOf(database.pool, reingest);

  expect(runs_per_minute).toBeGreaterThan(25);
  expect(eta_seconds).toBeCloseTo(420, 0);
});

test("says what made it fail, and that a limit paused it", async () => {
  const failed = await newReingest(database.pool, {
    status: "failed",
    error_code: "SOURCE_REFUSED",
    error_message: "403",
    finished_at: new Date(),
  });
  const paused = await newReingest(database.pool, { status: "paused", paused_because: "max_tokens" });

  expect(await untilEnded(database.pool, failed)).toMatchObject({
    error: { code: "SOURCE_REFUSED", message: "403" },
  });
  expect(await progressOf(database.pool, paused)).toMatchObject({
    status: "paused",
    paused_because: "max_tokens",
    eta_seconds: null,
  });
  await expect(progressOf(database.pool, { ...failed, tenant_id: randomUUID() })).rejects.toMatchObject({
    code: "NOT_FOUND",
  });
});

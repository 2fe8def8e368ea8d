import { randomUUID } from "node:crypto";
import { beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { one, type Pool } from "../../src/db.ts";
import { failAttempt, succeedRun } from "../../src/ledger/attempt.ts";
import { listBacklogs, noBacklog } from "../../src/ledger/backlog.ts";
import { cancelRun } from "../../src/ledger/cancel.ts";
import { listCauses } from "../../src/ledger/causes.ts";
import { changeTenant, pauseTenant } from "../../src/ledger/controls.ts";
import { enqueueRuns } from "../../src/ledger/enqueue.ts";
import { findRun, type RunsAsked, runsPage } from "../../src/ledger/look.ts";
import { listRates } from "../../src/ledger/rates.ts";
import { redriveDeadLetters } from "../../src/ledger/redrive.ts";
import { retryRun } from "../../src/ledger/retry.ts";
import type { ClaimedRun, RunRequest } from "../../src/ledger/run.ts";
import { listTenants, mostPending } from "../../src/ledger/tenants.ts";
import { noUsage } from "../../src/pipeline.ts";
import { appendEvents } from "../../src/store/events.ts";
import { storeScene } from "../support/content.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import {
  again,
  claimed,
  newPipeline,
  only,
  parkRun,
  request,
  runOf,
  stamp,
  started,
} from "../support/ledger.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});

const fail = (run: ClaimedRun, code = "GRAPH_FAILED", message = "no") =>
  failAttempt(database.pool, run, { code, message, retryInMs: null, counts: true, usage: noUsage });
const succeed = (run: ClaimedRun) =>
  succeedRun(database.pool, run, { outcome: "completed", stamp, usage: noUsage });

async function deadLetter(given: Partial<RunRequest> = {}, code?: string, message?: string) {
  const run = await started(database.pool, given);
  await fail(run, code, message);
  return run;
}

async function enqueue(count: number, given: Partial<RunRequest>): Promise<readonly string[]> {
  const wanted = Array.from({ length: count }, () => request({ pipeline: newPipeline(), ...given }));
  const ids: string[] = [];
  for (const run of wanted) ids.push(only(await enqueueRuns(database.pool, [run])).id);
  return ids;
}

const Row = z.object({ id: z.guid() });

async function runningReingest(tenant_id: string): Promise<string> {
  const { id } = await one(
    database.pool,
    Row,
    `insert into reingests (tenant_id, status, request, priority, total, started_at)
     values ($1, 'running', '{}', -100, 1, now()) returning id`,
    [tenant_id],
  );
  return id;
}

/** The database's pool, where something is done after each statement that matches. */
function poolWhere(pattern: RegExp, then: () => Promise<unknown>): Pool {
  const connect = async () => {
    const client = await database.pool.connect();
    return {
      release: (error?: Error) => client.release(error),
      query: async (text: string, values?: unknown[]) => {
        const answer = await client.query(text, values);
        if (pattern.test(text)) await then();
        return answer;
      },
    };
  };
  return { connect } as unknown as Pool;
}

/** All that the pages of a list give, one after the other, and how many they were. `between` is done after each. */
async function walk(asked: RunsAsked, limit: number, most?: number, between = async () => {}) {
  const ids: string[] = [];
  let [before, pages]: [string | undefined, number] = [undefined, 0];
  do {
    const { items, next } = await runsPage(database.pool, asked, { limit, before, most });
    expect(items.length).toBeLessThanOrEqual(limit);
    ids.push(...items.map(({ id }) => id));
    before = next ?? undefined;
    pages++;
    await between();
  } while (before !== undefined && pages < 100);
  return { ids, pages };
}

describe("a list of runs", () => {
  test("gives each run once, newest first, though more are made meanwhile", async () => {
    const tenant_id = randomUUID();
    const ids = await enqueue(10, { tenant_id });

    const { ids: seen, pages } = await walk({ tenant_id }, 3, undefined, async () => {
      await enqueue(2, { tenant_id });
    });
    expect(seen).toEqual(ids.toSorted().toReversed());
    expect(pages).toBe(4);
  });

  test("gives no run twice where others are made while it looks", async () => {
    const tenant_id = randomUUID();
    const [, ...newest] = (await enqueue(5, { tenant_id })).toSorted();
    const busy = poolWhere(/looked_at/, () => enqueue(3, { tenant_id }));

    const { items, next } = await runsPage(busy, { tenant_id }, { limit: 10, most: 4 });
    expect(items.map(({ id }) => id)).toEqual(newest.toReversed());
    expect(next).toBe(newest[0]);
  });

  test("ends without another page where the last one is full", async () => {
    const tenant_id = randomUUID();
    await enqueue(4, { tenant_id });
    expect((await walk({ tenant_id }, 2)).pages).toBe(2);
  });

  test("looks at so many runs a page and no more, and goes on behind them", async () => {
    const tenant_id = randomUUID();
    const [oldest = ""] = (await enqueue(11, { tenant_id })).toSorted();
    const { pipeline } = await runOf(database.pool, { id: oldest });

    const first = await runsPage(database.pool, { tenant_id, pipeline }, { limit: 5, most: 4 });
    expect(first).toEqual({ items: [], next: expect.any(String) });
    expect(await walk({ tenant_id, pipeline }, 5, 4)).toEqual({ ids: [oldest], pages: 3 });
  });

  test.each(["failed", "waiting", "running"] as const)(
    "finds %s runs among many others without looking at these",
    async (status) => {
      const tenant_id = randomUUID();
      const run = await started(database.pool, { tenant_id });
      if (status === "failed") await fail(run);
      if (status === "waiting") await parkRun(database.pool, run, "who?", noUsage);
      await enqueue(5, { tenant_id });

      expect(await walk({ tenant_id, status }, 5, 2)).toEqual({ ids: [run.id], pages: 1 });
    },
  );

  test("takes only what is asked for", async () => {
    const tenant_id = randomUUID();
    const [pipeline, reingest_id] = [newPipeline(), randomUUID()];
    const dead = await deadLetter({ tenant_id, pipeline });
    const [pending] = await enqueue(1, { tenant_id, pipeline });
    const [part] = await enqueue(1, { tenant_id, reingest_id });
    const entity = { source_type: "beat", source_id: randomUUID() } as const;
    const about = await enqueue(2, { tenant_id, ...entity });
    await enqueue(1, { tenant_id, ...entity, source_type: "scene" });
    await enqueue(3, { pipeline });
    const found = async (asked: Omit<RunsAsked, "tenant_id">) =>
      new Set((await walk({ tenant_id, ...asked }, 50)).ids);

    expect(await found({ pipeline })).toEqual(new Set([pending, dead.id]));
    expect(await found({ pipeline, status: "failed" })).toEqual(new Set([dead.id]));
    expect(await found({ pipeline, status: "pending" })).toEqual(new Set([pending]));
    expect(await found({ status: "success" })).toEqual(new Set());
    expect(await found({ reingest_id })).toEqual(new Set([part]));
    expect(await found({ entity })).toEqual(new Set(about));
    expect(await found({ entity, status: "failed" })).toEqual(new Set());
  });

  test("holds nothing of another tenant, not even behind its cursor", async () => {
    const tenant_id = randomUUID();
    const own = await enqueue(2, { tenant_id });
    let theirs = "";
    // What is made within one millisecond is in no order.
    while (own.some((id) => id > theirs)) [theirs = ""] = await enqueue(1, {});

    expect((await runsPage(database.pool, { tenant_id }, { limit: 5, before: theirs })).items).toHaveLength(
      2,
    );
    expect((await walk({ tenant_id: randomUUID() }, 5)).ids).toEqual([]);
  });
});

describe("a run", () => {
  test("is found with its errors, its cause and what it waits for", async () => {
    const wanted = request({ pipeline: newPipeline() });
    const { tenant_id, source_type, source_id } = wanted;
    const event = { event: "entity.ingested", tenant_id, source_type, source_id, version: 1, metadata: {} };
    const [cause_event = 0] = await appendEvents(database.pool, [event]);
    const run = await started(database.pool, { ...wanted, cause_event });
    await parkRun(database.pool, run, { ask: "who?" }, { ...noUsage, tokens_in: 7 });

    expect(await findRun(database.pool, tenant_id, run.id)).toMatchObject({
      ...{ id: run.id, status: "waiting", question: { ask: "who?" }, tokens_in: 7, input_hash: "i" },
      questions: [{ question: { ask: "who?" }, asked_at: expect.any(Date), answered_at: null }],
      cause: { id: cause_event, event: "entity.ingested", occurred_at: expect.any(Date) },
    });
    expect(await findRun(database.pool, randomUUID(), run.id)).toBeUndefined();
  });

  test("without a cause has none", async () => {
    const run = await deadLetter();
    expect(await findRun(database.pool, run.tenant_id, run.id)).toMatchObject({
      cause: null,
      errors: [{ attempt: 1, code: "GRAPH_FAILED", message: "no" }],
    });
  });
});

describe("retrying a run", () => {
  test("makes a dead letter pending with all its attempts, and keeps its errors", async () => {
    const tenant_id = randomUUID();
    const run = await deadLetter({ tenant_id, reingest_id: await runningReingest(tenant_id) });
    await retryRun(database.pool, run.tenant_id, run.id);

    expect(await runOf(database.pool, run)).toMatchObject({
      ...{ status: "pending", attempt: 0, finished_at: null, reingest_id: null },
      errors: [{ code: "GRAPH_FAILED" }],
    });
  });

  test("is refused where it has not failed, naming both states", async () => {
    const [running, waiting, done, gone] = [
      await started(database.pool),
      await started(database.pool),
      await started(database.pool),
      await started(database.pool),
    ];
    await parkRun(database.pool, waiting, "who?", noUsage);
    await succeed(done);
    await fail(gone);
    await retryRun(database.pool, gone.tenant_id, gone.id);
    await cancelRun(database.pool, gone.tenant_id, gone.id);

    for (const [run, state] of [
      [running, "running"],
      [waiting, "waiting"],
      [done, "success"],
      [gone, "cancelled"],
    ] as const) {
      await expect(retryRun(database.pool, run.tenant_id, run.id)).rejects.toMatchObject({
        code: "STATE_TRANSITION",
        message: expect.stringContaining(`from ${state} to pending`),
      });
      expect((await runOf(database.pool, run)).status).toBe(state);
    }
  });

  test("is refused where another run of its key is pending, and names that", async () => {
    const run = await deadLetter();
    const { id } = only(await enqueueRuns(database.pool, [again(run)]));

    await expect(retryRun(database.pool, run.tenant_id, run.id)).rejects.toMatchObject({
      code: "STATE_TRANSITION",
      message: expect.stringContaining(id),
    });
    expect((await runOf(database.pool, run)).status).toBe("failed");
  });

  test("finds nothing of another tenant", async () => {
    const run = await deadLetter();
    await expect(retryRun(database.pool, randomUUID(), run.id)).rejects.toMatchObject({ code: "NOT_FOUND" });
  });

  test("twice at the same time is done once", async () => {
    const run = await deadLetter();
    const tries = [1, 2, 3].map(() => retryRun(database.pool, run.tenant_id, run.id));
    const settled = await Promise.allSettled(tries);

    expect(settled.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    expect((await runOf(database.pool, run)).status).toBe("pending");
  });
});

describe("the backlog", () => {
  test("of a pipeline tells what is due, later, running, waiting and dead, and since when", async () => {
    const pipeline = newPipeline();
    await deadLetter({ pipeline });
    const waiting = await started(database.pool, { pipeline });
    await parkRun(database.pool, waiting, "who?", noUsage);
    await succeed(await started(database.pool, { pipeline }));
    await started(database.pool, { pipeline });
    const [due, later, third] = await enqueue(3, { pipeline });
    const dueSince = new Date(Date.now() - 3_600_000);
    const runAfter = "update pipeline_runs set run_after = $2 where id = $1";
    await database.pool.query(runAfter, [due, dueSince]);
    await database.pool.query(runAfter, [later, new Date(Date.now() + 3_600_000)]);

    const listed = await listBacklogs(database.pool);
    expect(listed.find((backlog) => backlog.pipeline === pipeline)).toEqual({
      ...{ pipeline, due: 2, later: 1, running: 1, waiting: 1, failed: 1, due_since: dueSince },
      waiting_since: expect.any(Date),
    });
    const { tenant_id } = await runOf(database.pool, { id: third ?? "" });
    expect(await listBacklogs(database.pool, tenant_id)).toEqual([
      { ...noBacklog(pipeline), due: 1, due_since: expect.any(Date) },
    ]);
  });

  test("counts no dead letter that a later run has healed", async () => {
    const run = await deadLetter();
    await succeed(await started(database.pool, again(run)));

    expect(await listBacklogs(database.pool, run.tenant_id)).toEqual([]);
    expect(await listCauses(database.pool, { tenant_id: run.tenant_id })).toEqual([]);
  });
});

test("rates tell what ended in the last minute, five minutes and hour, and how", async () => {
  const pipeline = newPipeline();
  const runs = [await claimed(database.pool, { pipeline }), await claimed(database.pool, { pipeline })];
  for (const run of runs) await succeed(run);
  const old = await deadLetter({ pipeline });
  const ended = "update pipeline_runs set finished_at = now() - $2::interval where id = $1";
  await database.pool.query(ended, [runs[0]?.id, "3 minutes"]);
  await database.pool.query(ended, [old.id, "30 minutes"]);
  const older = await deadLetter({ pipeline }, "MODEL_REFUSED");
  await database.pool.query(ended, [older.id, "61 minutes"]);

  expect((await listRates(database.pool)).filter((rate) => rate.pipeline === pipeline)).toEqual([
    { pipeline, ending: "completed", minute: 1, five_minutes: 2, hour: 2 },
    { pipeline, ending: "failed", minute: 0, five_minutes: 0, hour: 1 },
  ]);
});

describe("causes of dead letters", () => {
  test("are counted by pipeline, with the first, the last and the newest message", async () => {
    const [tenant_id, pipeline] = [randomUUID(), newPipeline()];
    const first = await deadLetter({ tenant_id, pipeline }, "GRAPH_FAILED", "the old one");
    const last = await deadLetter({ tenant_id, pipeline }, "GRAPH_FAILED", "the new one");
    await deadLetter({ tenant_id, pipeline }, "MODEL_REFUSED", "no key");
    await deadLetter({ pipeline });
    const endOf = async (run: ClaimedRun) => (await runOf(database.pool, run)).finished_at;

    expect(await listCauses(database.pool, { tenant_id })).toEqual([
      {
        ...{ pipeline, error_code: "GRAPH_FAILED", runs: 2, error_message: "the new one" },
        ...{ first_at: await endOf(first), last_at: await endOf(last) },
      },
      expect.objectContaining({ error_code: "MODEL_REFUSED", runs: 1 }),
    ]);
    expect(await listCauses(database.pool, { pipeline, code: "GRAPH_FAILED" })).toMatchObject([{ runs: 3 }]);
    expect(await listCauses(database.pool, { pipeline, code: "NO_SUCH" })).toEqual([]);
  });

  test("are what redriving takes", async () => {
    const { tenant_id } = await deadLetter();
    expect(await redriveDeadLetters(database.pool, { tenant_id })).toBe(1);
    expect(await listCauses(database.pool, { tenant_id })).toEqual([]);
  });
});

describe("tenants", () => {
  test("are all found once, whatever is known of them", async () => {
    const own = await testDatabase();
    const [content, runs, steered, all] = [randomUUID(), randomUUID(), randomUUID(), randomUUID()];
    for (const tenant of [content, all]) await storeScene(own.pool, tenant, ["One.", "Two."]);
    for (const tenant_id of [runs, all])
      await enqueueRuns(own.pool, [
        request({ pipeline: "p", tenant_id }),
        request({ pipeline: "p", tenant_id }),
      ]);
    await pauseTenant(own.pool, steered);
    await changeTenant(own.pool, all, { weight: 3 });
    const seen: string[] = [];
    for (let page = await listTenants(own.pool, { limit: 1 }); page.length > 0; ) {
      seen.push(only(page).tenant_id);
      page = await listTenants(own.pool, { limit: 1, after: seen.at(-1) });
    }

    expect(seen).toEqual([content, runs, steered, all].toSorted());
    const listed = await listTenants(own.pool, { limit: 10 });
    const found = (tenant: string) => listed.find(({ tenant_id }) => tenant_id === tenant);
    expect(found(all)).toMatchObject({ weight: 3, pending: 2, running: 0, paused_at: null });
    expect(found(content)).toMatchObject({ weight: 1, pending: 0 });
    expect(found(steered)?.paused_at).toBeInstanceOf(Date);
  });

  test("have their pending runs counted so far and no further", async () => {
    const own = await testDatabase();
    const tenant_id = randomUUID();
    const many = Array.from({ length: mostPending + 1 }, () => request({ pipeline: "p", tenant_id }));
    await enqueueRuns(own.pool, many);
    expect(await listTenants(own.pool, { limit: 1 })).toMatchObject([{ tenant_id, pending: mostPending }]);
  });
});

import { randomUUID } from "node:crypto";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { many } from "../../src/db.ts";
import { acceptEntities } from "../../src/intake.ts";
import { answerRun } from "../../src/ledger/answer.ts";
import { enqueueRuns } from "../../src/ledger/enqueue.ts";
import { listRuns } from "../../src/ledger/read.ts";
import { LoadedRegistry } from "../../src/registry.ts";
import { diffVersions } from "../../src/rollouts/diff.ts";
import { dropRollout, promoteRollout } from "../../src/rollouts/end.ts";
import { rolloutProgress } from "../../src/rollouts/progress.ts";
import { heedPromotions } from "../../src/rollouts/promotions.ts";
import { startRollout } from "../../src/rollouts/start.ts";
import { enrichmentsBy } from "../../src/store/enrichments.ts";
import { inShareSql, isInShare } from "../../src/store/rollouts.ts";
import type { Context } from "../../src/worker/context.ts";
import { scene } from "../support/content.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { asking, echo, plainBase } from "../support/pipelines.ts";
import { emptyLedger, runtime, startWorker } from "../support/runtime.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});
afterEach(async () => {
  await emptyLedger(database);
  await database.pool.query("truncate rollouts, candidate_outputs, entities cascade");
});

const first = echo(({ text }) => ({ said: text }), { name: "mood" });
const second = echo(
  ({ text }) => ({
    said: text.includes("calm") ? text : text.toUpperCase(),
    events: [{ event: "mood.found", metadata: {} }],
  }),
  { name: "mood", version: 2, emits: ["mood.found"] },
);
const follower = echo(({ title }) => ({ said: title }), { name: "arc", trigger: { on: "mood.enriched" } });

/** Scenes of one tenant, ingested and read by the first version. */
async function ingested(texts: readonly string[]) {
  const registry = new LoadedRegistry([plainBase, first, follower], [second]);
  const context: Context & { registry: LoadedRegistry } = { ...runtime(database), registry };
  const tenant_id = randomUUID();
  const entities = texts.map((text) => scene({ text }));
  await accept(context, tenant_id, entities);
  await work(context);
  return { context, tenant_id, entities };
}

const accept = (context: Context, tenant_id: string, entities: ReturnType<typeof scene>[]) =>
  acceptEntities(context.pool, context.registry, { tenant_id, source: "test", entities });

async function work(context: Context): Promise<void> {
  await using worker = startWorker(context, database);
  await worker.untilDone();
}

const said = async ({ pool }: Context, tenant_id: string, pipeline = "mood") =>
  (await enrichmentsBy(pool, tenant_id, pipeline)).map(({ output }) => output.said).toSorted();

const eventsOf = async ({ pool }: Context, tenant_id: string) => {
  const Row = z.object({ event: z.string(), events: z.coerce.number() });
  const sql = "select event, count(*) as events from events where tenant_id = $1 group by event";
  return Object.fromEntries(
    (await many(pool, Row, sql, [tenant_id])).map(({ event, events }) => [event, events]),
  );
};

const all = { pipeline: "mood", to: 2, share: 1 };
const texts = ["calm sea", "high sea", "low sea"];

describe("a version that is tried", () => {
  test("is run beside the other, and what it makes is kept aside: nobody reads it, nothing follows", async () => {
    const { context, tenant_id } = await ingested(texts);
    const before = await eventsOf(context, tenant_id);
    const { enqueued } = await startRollout(context, all);
    await work(context);

    expect(enqueued).toBe(3);
    expect(await said(context, tenant_id)).toEqual(texts);
    expect(await said(context, tenant_id, "mood@2")).toEqual([]);
    expect(await eventsOf(context, tenant_id)).toEqual(before);
    expect(await listRuns(context.pool, { pipeline: "arc" })).toHaveLength(3);
    expect(await rolloutProgress(context.pool, "mood")).toMatchObject([
      { status: "running", candidates: 3, runs: { done: 3, open: 0, failed: 0 }, agreement: 1 / 3 },
    ]);
  });

  test("is run on what comes meanwhile too, where that is in the share", async () => {
    const { context, tenant_id, entities } = await ingested(["calm sea"]);
    await startRollout(context, { ...all, share: 0.5 });
    await work(context);
    const others = Array.from({ length: 20 }, (_, n) => scene({ text: `sea ${n}` }));
    await accept(context, tenant_id, others);
    await work(context);

    const tried = await listRuns(context.pool, { pipeline: "mood@2", limit: 100 });
    const within = [...entities, ...others].filter(({ source_id }) =>
      isInShare({ pipeline: "mood", share: 0.5 }, source_id),
    );
    expect(tried.map(({ source_id }) => source_id).toSorted()).toEqual(
      within.map(({ source_id }) => source_id).toSorted(),
    );
    expect(await said(context, tenant_id)).toHaveLength(21);
  });

  test("is not run on another tenant's entities, where one is named", async () => {
    const { context, tenant_id } = await ingested(texts);
    const other = randomUUID();
    await accept(context, other, [scene()]);
    await work(context);

    expect((await startRollout(context, { ...all, tenant_id })).enqueued).toBe(3);
    await accept(context, other, [scene()]);
    await work(context);
    expect(await listRuns(context.pool, { tenant_id: other, pipeline: "mood@2" })).toEqual([]);
  });

  test("is started once: the same again goes on, a larger share adds, another is refused", async () => {
    const { context } = await ingested(texts);
    await startRollout(context, { ...all, share: 0.5 });
    await work(context);
    const again = await startRollout(context, { ...all, share: 0.5 });
    const grown = await startRollout(context, all);
    await work(context);

    expect(again.enqueued).toBe(0);
    expect(grown.rollout).toMatchObject({ id: again.rollout.id, share: 1 });
    expect(await rolloutProgress(context.pool)).toMatchObject([{ candidates: 3, runs: { done: 3 } }]);
    await expect(startRollout(context, { ...all, share: 0.5 })).rejects.toThrow(/a share only grows/);
    await expect(startRollout(context, { ...all, tenant_id: randomUUID() })).rejects.toMatchObject({
      code: "STATE_TRANSITION",
    });
  });

  test.each([
    [{ ...all, to: 3 }, /version 3 of mood is not loaded: .* "mood@3"/],
    [{ ...all, to: 1 }, /above the one that runs, 1, got: 1/],
    [{ ...all, pipeline: "base" }, /expected an enricher, got: base/],
    [{ ...all, share: 0 }, /expected a share above 0 %/],
  ])("is refused: %j", async (request, message) => {
    const { context } = await ingested([]);
    await expect(startRollout(context, request)).rejects.toThrow(message);
  });
});

test("a share is the same for the router and the database, and a larger one holds a smaller one", async () => {
  const ids = Array.from({ length: 2_000 }, () => randomUUID());
  const within = async (share: number) => {
    const sql = `select id from unnest($1::uuid[]) id where ${inShareSql("id", "$2::text", "$3")}`;
    const rows = await many(database.pool, z.object({ id: z.guid() }), sql, [ids, "mood", share]);
    const found = rows.map(({ id }) => id).toSorted();
    expect(found).toEqual(ids.filter((id) => isInShare({ pipeline: "mood", share }, id)).toSorted());
    return found;
  };
  const [small, large, whole] = [await within(0.05), await within(0.3), await within(1)];

  expect(small.length).toBeGreaterThan(50);
  expect(small.length).toBeLessThan(160);
  expect(small.every((id) => large.includes(id))).toBe(true);
  expect(whole).toHaveLength(2_000);
});

test("a diff tells how versions differ, by field and by example", async () => {
  const { context, entities } = await ingested(texts);
  await startRollout(context, all);
  await work(context);
  const diff = await diffVersions(context.pool, { pipeline: "mood", from: 1, to: 2, limit: 1 });

  expect(diff).toMatchObject({
    pairs: 3,
    equal: 1,
    uncompared: 0,
    fields: [{ field: "said", pairs: 3, equal: 1 }],
    examples: [{ distance: 1, fields: [{ field: "said", before: expect.any(String) }] }],
  });
  expect(entities.map(({ source_id }) => source_id)).toContain(diff.examples[0]?.source_id);
});

describe("promoting", () => {
  test("makes what was kept aside what is stored, tells of it, and lets the version run", async () => {
    const { context, tenant_id } = await ingested(texts);
    await startRollout(context, all);
    await work(context);
    const before = await eventsOf(context, tenant_id);
    const ended = await promoteRollout(context, "mood");
    const after = await eventsOf(context, tenant_id);
    await work(context);
    await accept(context, tenant_id, [scene({ text: "new sea" })]);
    await work(context);

    expect(ended).toMatchObject({ rollout: { status: "promoted" }, promoted: 3, forgotten: 0 });
    expect(after["entity.enriched"]).toBe((before["entity.enriched"] ?? 0) + 3);
    expect(after["mood.found"]).toBe(3);
    expect(await said(context, tenant_id)).toEqual(["HIGH SEA", "LOW SEA", "NEW SEA", "calm sea"]);
    expect(await listRuns(context.pool, { pipeline: "mood@2" })).toHaveLength(3);
    expect(context.registry.get("mood")).toBe(second);
  });

  test("goes on where it was cut off, and tells nothing twice", async () => {
    const { context, tenant_id } = await ingested(texts);
    await startRollout(context, all);
    await work(context);
    await refuseNext(2);
    await expect(promoteRollout(context, "mood")).rejects.toThrow();
    const [half] = await rolloutProgress(context.pool);
    await expect(dropRollout(context, "mood")).rejects.toMatchObject({ code: "STATE_TRANSITION" });
    await allowAll();
    const { promoted } = await promoteRollout(context, "mood");

    expect(half).toMatchObject({ status: "promoting" });
    expect(promoted).toBe(3);
    expect((await eventsOf(context, tenant_id))["mood.found"]).toBe(3);
    await expect(promoteRollout(context, "mood")).rejects.toMatchObject({ code: "NOT_FOUND" });
  });

  test("leaves what was stored meanwhile of a newer version of an entity", async () => {
    const { context, tenant_id } = await ingested(["high sea"]);
    await startRollout(context, all);
    await work(context);
    await context.pool.query("update enrichments set source_version = 2 where pipeline = 'mood'");

    expect(await promoteRollout(context, "mood")).toMatchObject({ promoted: 0, forgotten: 1 });
    expect(await said(context, tenant_id)).toEqual(["high sea"]);
  });

  test("is heeded by other processes, as far as they have the version", async () => {
    const { context } = await ingested(texts);
    await startRollout(context, all);
    await promoteRollout(context, "mood");
    const [has, lacks, newer] = [
      new LoadedRegistry([plainBase, first], [second]),
      new LoadedRegistry([plainBase, first]),
      new LoadedRegistry([plainBase, { ...first, version: 3 }], [second]),
    ];
    for (const registry of [has, lacks, newer]) await heedPromotions(context.pool, registry);

    expect([has, lacks, newer].map((registry) => registry.get("mood")?.version)).toEqual([2, 1, 3]);
  });
});

test("dropping forgets what was kept aside, cancels what waits, and keeps nothing that comes later", async () => {
  const { context, tenant_id } = await ingested(texts);
  await startRollout(context, { ...all });
  await work(context);
  await accept(context, tenant_id, [scene({ text: "late sea" })]);
  {
    await using worker = startWorker(context, database, { pipelines: ["base"] });
    await worker.untilDone();
  }
  const ended = await dropRollout(context, "mood");
  await work(context);

  expect(ended).toMatchObject({ rollout: { status: "dropped" }, promoted: 0, forgotten: 3 });
  expect((await context.pool.query("select from candidate_outputs")).rowCount).toBe(0);
  expect((await listRuns(context.pool, { pipeline: "mood@2", limit: 1 }))[0]?.status).toBe("cancelled");
  expect(await said(context, tenant_id)).toEqual(["calm sea", "high sea", "late sea", "low sea"]);
});

describe("a run of a tried version that asks a person", () => {
  const asks = asking("Who?", { name: "mood", version: 2 });

  /** One scene that the first version read, and of which the second asks. */
  async function asked() {
    const registry = new LoadedRegistry([plainBase, first], [asks]);
    const context = { ...runtime(database), registry };
    const tenant_id = randomUUID();
    const entity = scene({ text: "high sea" });
    await accept(context, tenant_id, [entity]);
    await work(context);
    await startRollout(context, all);
    await work(context);
    return { context, tenant_id, entity };
  }
  const statusOf = async (context: Context, pipeline: string) =>
    (await listRuns(context.pool, { pipeline, limit: 1 })).map(({ status }) => status);

  test.each([
    ["promoting", promoteRollout],
    ["dropping", dropRollout],
  ])("is cancelled by %s", async (_, end) => {
    const { context, tenant_id } = await asked();
    expect(await statusOf(context, "mood@2")).toEqual(["waiting"]);
    await end(context, "mood");

    expect(await statusOf(context, "mood@2")).toEqual(["cancelled"]);
    expect(await said(context, tenant_id)).toEqual(["high sea"]);
  });

  test("waits on while the version that runs answers, and its own answer is kept aside", async () => {
    const { context, tenant_id, entity } = await asked();
    await enqueueRuns(context.pool, [
      {
        ...entity,
        tenant_id,
        source_version: 1,
        pipeline: "mood",
        priority: 0,
        max_attempts: 1,
        force: true,
      },
    ]);
    await work(context);
    expect(await listRuns(context.pool, { pipeline: "mood", status: "success" })).toHaveLength(2);
    const [run] = await listRuns(context.pool, { pipeline: "mood@2", status: "waiting" });
    if (!run) throw new Error("expected a run of the tried version to wait");
    await answerRun(context.pool, run, { kind: "one", answer: "Mara" }, "Ines");
    await work(context);

    expect(await rolloutProgress(context.pool, "mood")).toMatchObject([{ candidates: 1 }]);
  });
});

/** From the nth event on that is told of an enrichment, the database refuses. */
async function refuseNext(nth: number): Promise<void> {
  await database.pool.query(`
    create sequence told start 1;
    create function refuse_events() returns trigger language plpgsql as $$
      begin
        if nextval('told') >= ${nth} then raise exception 'not now'; end if;
        return new;
      end $$;
    create trigger refuse before insert on events for each row execute function refuse_events()`);
}

async function allowAll(): Promise<void> {
  await database.pool.query(
    "drop trigger refuse on events; drop function refuse_events(); drop sequence told",
  );
}

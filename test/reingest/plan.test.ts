import { randomUUID } from "node:crypto";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { countTokens } from "../../src/content/tokens.ts";
import { many } from "../../src/db.ts";
import { acceptEntities } from "../../src/intake.ts";
import { enqueueRuns } from "../../src/ledger/enqueue.ts";
import { noteWorker } from "../../src/ledger/workers.ts";
import { openModels } from "../../src/models/models.ts";
import type { Pipeline } from "../../src/pipeline.ts";
import { loadRegistry } from "../../src/registry.ts";
import { Plan, planReingest } from "../../src/reingest/plan.ts";
import { ReingestRequest } from "../../src/reingest/request.ts";
import type { NewEntity } from "../../src/store/entities.ts";
import type { Context } from "../../src/worker/context.ts";
import { type Answer, completion, embeddings, serverAnswering, settingsFor } from "../models/server.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { type Asked, decideBy, scopeFor } from "../support/decisions.ts";
import { echo } from "../support/pipelines.ts";
import { newReingest } from "../support/reingests.ts";
import { emptyLedger, runtime, startWorker } from "../support/runtime.ts";

let database: TestDatabase;
let registry: ReadonlyMap<string, Pipeline>;
beforeAll(async () => {
  database = await testDatabase();
  registry = await loadRegistry("langgraph.json");
});
afterEach(() => emptyLedger(database));

const telling =
  "The tide went on, and nobody on the long grey pier found a word to say to anybody about the lamp or the boat.";

/** A scene with one exchange and so many paragraphs of telling. */
function sceneOf(paragraphs: number, given: Partial<NewEntity> = {}): NewEntity {
  const told = Array.from(
    { length: paragraphs },
    (_, n) => `${telling} It was the ${n}th of ${randomUUID()}.`,
  );
  return {
    source_type: "scene",
    source_id: randomUUID(),
    title: "The pier",
    text: ["“I waited for you all night,” said Mara.", ...told].join("\n\n"),
    metadata: {},
    ...given,
  };
}

/** A model server that bills embeddings by their true tokens, and each chat 1,000 tokens in and 100 out. */
async function modelServer() {
  return await serverAnswering(({ path, body }): Answer => {
    if (path !== "/v1/embeddings") return reading;
    const texts = z.array(z.string()).parse(body.input);
    const answer = embeddings(texts.map((_, nth) => Array(1_536).fill(nth + 1)));
    const prompt_tokens = texts.reduce((sum, text) => sum + countTokens(text), 0);
    return { body: { ...(answer.body as object), usage: { prompt_tokens } } };
  });
}

const reading = completion({
  content: JSON.stringify({
    evidence: "I waited for you all night",
    mood: "hopeful",
    valence: 0.5,
    confidence: 0.8,
  }),
});

async function paidContext() {
  const server = await modelServer();
  return {
    context: { ...runtime(database), registry, models: openModels(settingsFor(server.url)) },
    server,
  };
}

const accept = ({ pool, registry }: Context, tenant_id: string, entities: readonly NewEntity[]) =>
  acceptEntities(pool, registry, { tenant_id, source: "test", entities });

async function work(context: Context): Promise<void> {
  await using worker = startWorker(context, database);
  await worker.untilDone();
}

/** The plan, as it is told. */
async function plan(context: Context, tenant_id: string, given: Asked = {}): Promise<Plan> {
  return Plan.parse(
    await planReingest(context, tenant_id, ReingestRequest.parse({ ...given, dry_run: true })),
  );
}

const Used = z.object({
  pipeline: z.string(),
  run: z.int(),
  tokens: z.coerce.number(),
  cost_usd: z.coerce.number(),
});

/** Runs what the plan is of, and tells what that used, by pipeline; what ends as a duplicate ran no graph. */
async function reingest(context: Context, tenant_id: string, given: Asked = {}) {
  await context.pool.query("delete from pipeline_runs where tenant_id = $1 and status = 'pending'", [
    tenant_id,
  ]);
  const before = await context.pool.query("select id from pipeline_runs where tenant_id = $1", [tenant_id]);
  const { runs } = await decideBy(context, await scopeFor(context, tenant_id, given), 3);
  const { id: reingest_id } = await newReingest(context.pool, { tenant_id });
  await enqueueRuns(
    context.pool,
    runs.map((run) => ({ ...run, reingest_id })),
  );
  await work(context);
  return await many(
    context.pool,
    Used,
    `select pipeline, count(*)::integer as run, sum(tokens_in + tokens_out + embedding_tokens) as tokens, sum(cost_usd) as cost_usd
     from pipeline_runs
     where tenant_id = $1 and status = 'success' and outcome <> 'duplicate_skipped' and id <> all ($2)
     group by pipeline order by pipeline`,
    [tenant_id, before.rows.map(({ id }) => id)],
  );
}

/** What is planned, by pipeline. */
function planned({ rows }: Plan) {
  return Object.entries(Object.groupBy(rows, ({ pipeline }) => pipeline))
    .map(([pipeline, of = []]) => ({
      pipeline,
      run: of.reduce((sum, { run }) => sum + run, 0),
      tokens: of.reduce((sum, row) => sum + row.tokens_in + row.tokens_out + row.embedding_tokens, 0),
      cost_usd: of.reduce((sum, { cost_usd }) => sum + cost_usd, 0),
    }))
    .filter(({ run }) => run > 0)
    .toSorted((a, b) => (a.pipeline < b.pipeline ? -1 : 1));
}

/** Ten scenes, from short to long, that were ingested and read. */
async function setUpPaid() {
  const { context, server } = await paidContext();
  const tenant_id = randomUUID();
  const scenes = Array.from({ length: 10 }, (_, n) => sceneOf(1 + n * 2));
  await accept(context, tenant_id, scenes);
  await work(context);
  return { context, server, tenant_id, scenes };
}

describe("a plan", () => {
  test("calls no model, enqueues nothing, and says so in figures of nothing where all is unchanged", async () => {
    const { context, server, tenant_id } = await setUpPaid();
    const asked = server.requests.length;

    const { totals, rows, filters } = await plan(context, tenant_id);

    expect(totals).toEqual({
      entities: 10,
      pairs: 20,
      skipped: 20,
      run: 0,
      chunks: 0,
      tokens: 0,
      cost_usd: 0,
      seconds: 0,
    });
    expect(
      rows.map(({ source_type, pipeline, entities, skipped }) => [source_type, pipeline, entities, skipped]),
    ).toEqual([
      ["scene", "base", 10, 10],
      ["scene", "dialog-mood", 10, 10],
    ]);
    expect(filters).toMatchObject({ pipelines: ["base"], dry_run: true });
    expect(server.requests).toHaveLength(asked);
    expect((await context.pool.query("select from pipeline_runs where status = 'pending'")).rowCount).toBe(0);
  });

  test("of a tenant that is not there is empty", async () => {
    const { context } = await paidContext();

    expect(await plan(context, randomUUID())).toMatchObject({ totals: { entities: 0, run: 0 }, rows: [] });
  });

  test("counts the runs that then run", async () => {
    const { context, tenant_id, scenes } = await setUpPaid();
    await accept(context, tenant_id, [
      ...scenes.slice(0, 3).map((scene) => ({ ...scene, text: `${scene.text}\n\nThen he came.` })),
      sceneOf(2),
      sceneOf(3, { source_type: "chapter" }),
      sceneOf(2, { metadata: { content_kind: "outline" } }),
    ]);

    const before = await plan(context, tenant_id);
    const after = await reingest(context, tenant_id);

    expect(planned(before).map(({ pipeline, run }) => ({ pipeline, run }))).toEqual(
      after.map(({ pipeline, run }) => ({ pipeline, run })),
    );
    expect(after.map(({ run }) => run)).toEqual([6, 4]);
  });
});

describe("what a plan estimates", () => {
  test("by runs that were measured is what new texts then use, to a tenth", async () => {
    const { context, tenant_id } = await setUpPaid();
    await accept(
      context,
      tenant_id,
      Array.from({ length: 6 }, (_, n) => sceneOf(4 + n)),
    );

    const before = await plan(context, tenant_id);
    const after = await reingest(context, tenant_id);

    expect(before.rows.map(({ basis, measured_runs }) => [basis, measured_runs])).toEqual([
      ["measured", 10],
      ["measured", 10],
    ]);
    expect(before.duration.basis).toBe("measured");
    planned(before).forEach((row, nth) => {
      const used = after[nth];
      expect(row.cost_usd / (used?.cost_usd ?? 0)).toBeCloseTo(1, 1);
      expect(row.tokens / (used?.tokens ?? 0)).toBeCloseTo(1, 1);
    });
    const { rowCount } = await context.pool.query(
      "select from chunks join entities using (tenant_id, source_type, source_id) where tenant_id = $1 and created_at = (select max(created_at) from entities where tenant_id = $1)",
      [tenant_id],
    );
    expect((before.rows[0]?.chunks ?? 0) / (rowCount ?? 0)).toBeCloseTo(1, 0);
    expect(before.totals.chunks, "those that base makes, once").toBe(before.rows[0]?.chunks);
  });

  test("by texts and prices, before anything was measured, is near what they then use", async () => {
    const { context } = await paidContext();
    const tenant_id = randomUUID();
    await accept(
      context,
      tenant_id,
      Array.from({ length: 6 }, (_, n) => sceneOf(4 + n * 3)),
    );

    const before = await plan(context, tenant_id);
    const [base, mood] = planned(before);
    const [usedByBase, usedByMood] = await reingest(context, tenant_id);

    expect(before.rows.map(({ basis }) => basis)).toEqual(["estimated", "estimated"]);
    expect((base?.cost_usd ?? 0) / (usedByBase?.cost_usd ?? 0)).toBeGreaterThan(0.7);
    expect((base?.cost_usd ?? 0) / (usedByBase?.cost_usd ?? 0)).toBeLessThan(1.4);
    expect((mood?.cost_usd ?? 0) / (usedByMood?.cost_usd ?? 0)).toBeGreaterThan(0.3);
    expect((mood?.cost_usd ?? 0) / (usedByMood?.cost_usd ?? 0)).toBeLessThan(3);
  });

  test("of vectors that are known is nothing", async () => {
    const { context, tenant_id } = await setUpPaid();

    const before = await plan(context, tenant_id, { force: true });
    const after = await reingest(context, tenant_id, { force: true });

    expect(before.rows[0]).toMatchObject({ pipeline: "base", run: 10, embedding_tokens: 0, cost_usd: 0 });
    expect(after[0]).toMatchObject({ pipeline: "base", run: 10, tokens: 0, cost_usd: 0 });
    expect(planned(before)[1]?.cost_usd).toBeCloseTo(after[1]?.cost_usd ?? 0, 6);
  });

  test("of another model goes by the price of that", async () => {
    const { context, server, tenant_id } = await setUpPaid();
    const dear = { ...context, models: openModels(settingsFor(server.url, { chatModel: "o1" })) };
    const unknown = { ...context, models: openModels(settingsFor(server.url, { chatModel: "house-model" })) };

    const [row] = (await plan(dear, tenant_id)).rows.filter(({ run }) => run > 0);
    const free = await plan(unknown, tenant_id);

    expect(row).toMatchObject({ pipeline: "dialog-mood", basis: "estimated", measured_runs: 0 });
    expect(row?.cost_usd).toBeCloseTo(((row?.tokens_in ?? 0) * 15 + (row?.tokens_out ?? 0) * 60) / 1e6, 4);
    expect(free.totals).toMatchObject({ run: 10, cost_usd: 0 });
    expect(free.notes).toContainEqual(expect.stringContaining("house-model has no price"));
  });

  test("of local models costs nothing", async () => {
    const context = runtime(
      database,
      echo(() => ({ said: "" })),
    );
    const tenant_id = randomUUID();
    await accept(context, tenant_id, [sceneOf(2)]);

    const { totals, notes } = await plan(context, tenant_id);

    expect(totals).toMatchObject({ run: 2, chunks: 1, tokens: 0, cost_usd: 0 });
    expect(notes).toContainEqual(expect.stringContaining("local"));
  });

  test("borrows from other tenants what this one has not measured", async () => {
    const { context } = await setUpPaid();
    const tenant_id = randomUUID();
    await accept(context, tenant_id, [sceneOf(5)]);

    expect(
      (await plan(context, tenant_id)).rows.map(({ basis, measured_runs }) => [basis, measured_runs]),
    ).toEqual([
      ["measured", 10],
      ["measured", 10],
    ]);
  });
});

describe("how long a plan says it takes", () => {
  test("is shared by the slots of living workers, but for those kept free", async () => {
    const { context, tenant_id } = await setUpPaid();
    await noteWorker(context.pool, { worker: "one", pipelines: ["%"], concurrency: 16 });
    await noteWorker(context.pool, { worker: "two", pipelines: ["%"], concurrency: 1 });
    await noteWorker(context.pool, { worker: "deliverer", pipelines: ["webhook:%"], concurrency: 32 });

    const { rows, duration } = await plan(context, tenant_id, { force: true });
    await context.pool.query("delete from workers");
    const none = await plan(context, tenant_id, { force: true });

    const seconds = rows.reduce((sum, row) => sum + row.seconds, 0);
    expect(duration).toMatchObject({
      slots: 15,
      basis: "measured",
      explanation: expect.stringContaining("15 slots"),
    });
    expect(duration.seconds).toBeCloseTo(seconds / 15, 1);
    expect(none.duration).toMatchObject({
      slots: 8,
      explanation: expect.stringContaining("no worker is alive"),
    });
  });

  test("heeds the limit of runs a minute", async () => {
    const { context, tenant_id } = await setUpPaid();

    const { duration } = await plan(context, tenant_id, { force: true, max_runs_per_minute: 4 });

    expect(duration).toMatchObject({ seconds: 300, explanation: expect.stringContaining("4 runs a minute") });
  });
});

test("a plan says what it leaves out and what it cannot count", async () => {
  const { context, tenant_id } = await setUpPaid();
  const flagged = echo(() => ({ said: "" }), {
    name: "beta",
    trigger: { on: "entity.ingested", flag: "beta" },
  });
  const wider = { ...context, registry: new Map([...registry, ["beta", flagged]]) };

  const { notes } = await plan(wider, tenant_id, { force: true, source: "main-service" });

  expect(notes.join("\n")).toMatch(/beta is left out: its feature flag beta is off/);
  expect(notes.join("\n")).toMatch(/mentions .* may add runs of character-traits/);
  expect(notes.join("\n")).toMatch(/main service/);
});

import { randomUUID } from "node:crypto";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { acceptEntities } from "../../src/intake.ts";
import { enqueueRuns } from "../../src/ledger/enqueue.ts";
import { listRuns } from "../../src/ledger/read.ts";
import type { Pipeline } from "../../src/pipeline.ts";
import type { NewEntity } from "../../src/store/entities.ts";
import type { Context } from "../../src/worker/context.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { type Asked, decideAtOnce, decideBy, scopeFor } from "../support/decisions.ts";
import { echo, type Given, plainBase } from "../support/pipelines.ts";
import { emptyLedger, runtime, startWorker } from "../support/runtime.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});
afterEach(() => emptyLedger(database));

const says = (definition: Given) => echo(({ text }) => ({ said: text }), definition);
const mood = (given: Given = {}) =>
  says({ name: "mood", trigger: { on: "entity.ingested", types: ["scene", "beat"] }, ...given });
const traits = (given: Given = {}) =>
  says({ name: "traits", trigger: { on: "entity.ingested", types: ["character"] }, ...given });

const entity = (source_type: NewEntity["source_type"], given: Partial<NewEntity> = {}): NewEntity => ({
  source_type,
  source_id: randomUUID(),
  title: "The pier",
  text: `Nothing moved, ${randomUUID()}.`,
  metadata: {},
  ...given,
});

const accept = (context: Context, tenant_id: string, entities: readonly NewEntity[]) =>
  acceptEntities(context.pool, context.registry, { tenant_id, source: "test", entities });

async function work(context: Context): Promise<void> {
  await using worker = startWorker(context, database);
  await worker.untilDone();
}

/** A scene, a beat and a character of a new tenant, of which everything is known. */
async function setUp(...enrichers: readonly Pipeline[]) {
  const context = runtime(database, ...(enrichers.length > 0 ? enrichers : [mood(), traits()]));
  const tenant_id = randomUUID();
  const [scene, beat, mara] = [entity("scene"), entity("beat"), entity("character")];
  await accept(context, tenant_id, [scene, beat, mara]);
  await work(context);
  return { context, tenant_id, scene, beat, mara, names: namesOf({ scene, beat, mara }) };
}

/** What it decides, in words: `scene mood` for each run, and how many pairs it skips. */
function namesOf(entities: Readonly<Record<string, NewEntity>>) {
  const known = new Map(Object.entries(entities).map(([name, { source_id }]) => [source_id, name]));
  return async (context: Context, tenant_id: string, asked: Asked = {}) => {
    const scope = await scopeFor(context, tenant_id, asked);
    const { runs, skipped, pairs } = await decideBy(context, scope, 100);
    return {
      runs: runs.map(({ source_id, pipeline }) => `${known.get(source_id) ?? "?"} ${pipeline}`).toSorted(),
      skipped,
      run: pairs.reduce((sum, pair) => sum + pair.run, 0),
    };
  };
}

/** The same runtime, with other definitions of its pipelines. */
function withPipelines(context: Context, ...pipelines: readonly Pipeline[]): Context {
  return {
    ...context,
    registry: new Map([...context.registry, ...pipelines.map((p) => [p.name, p] as const)]),
  };
}

const withBase = (context: Context, given: Partial<Pipeline>) =>
  withPipelines(context, { ...plainBase, ...given });

function withoutRules({ local: _, ...pipeline }: Pipeline): Pipeline {
  return pipeline;
}

describe("what nobody changed", () => {
  test("is skipped", async () => {
    const { context, tenant_id, names } = await setUp();

    expect(await names(context, tenant_id)).toEqual({ runs: [], skipped: 6, run: 0 });
  });

  test("runs by force, and enrichers follow from base", async () => {
    const { context, tenant_id, scene } = await setUp();

    const { runs, pairs } = await decideBy(
      context,
      await scopeFor(context, tenant_id, { force: true, priority: -7 }),
      9,
    );

    expect(runs.map(({ pipeline }) => pipeline)).toEqual(["base", "base", "base"]);
    expect(runs.find(({ source_id }) => source_id === scene.source_id)).toEqual({
      tenant_id,
      source_type: "scene",
      source_id: scene.source_id,
      source_version: 1,
      pipeline: "base",
      priority: -7,
      max_attempts: 5,
      force: true,
    });
    expect(pairs.map(({ source_type, pipeline, run }) => [source_type, pipeline, run])).toEqual([
      ["beat", "base", 1],
      ["beat", "mood", 1],
      ["character", "base", 1],
      ["character", "traits", 1],
      ["scene", "base", 1],
      ["scene", "mood", 1],
    ]);
  });

  test("runs by force under its own name alone", async () => {
    const { context, tenant_id, names } = await setUp();

    expect(await names(context, tenant_id, { force: true, pipelines: ["mood"] })).toEqual({
      runs: ["beat mood", "scene mood"],
      skipped: 0,
      run: 2,
    });
  });
});

describe("what changed", () => {
  test("runs from base, whose event makes the rest run", async () => {
    const { context, tenant_id, scene, names } = await setUp();
    await accept(context, tenant_id, [{ ...scene, text: "Somebody came." }]);

    expect(await names(context, tenant_id)).toEqual({ runs: ["scene base"], skipped: 4, run: 2 });
  });

  test("is no longer run once it was", async () => {
    const { context, tenant_id, scene, names } = await setUp();
    await accept(context, tenant_id, [{ ...scene, text: "Somebody came." }]);
    await work(context);

    expect(await names(context, tenant_id)).toEqual({ runs: [], skipped: 6, run: 0 });
  });

  test("in one pipeline's version runs that one", async () => {
    const { context, tenant_id, names } = await setUp();

    const newer = withPipelines(context, mood({ version: 2 }));

    expect(await names(newer, tenant_id)).toEqual({ runs: ["beat mood", "scene mood"], skipped: 4, run: 2 });
  });

  test("in one pipeline's prompts runs that one", async () => {
    const { context, tenant_id, names } = await setUp();

    const newer = withPipelines(context, traits({ prompts: ["Who is she?"] }));

    expect(await names(newer, tenant_id)).toEqual({ runs: ["mara traits"], skipped: 5, run: 1 });
  });

  test("in the chat model runs the enrichers, and in the embedding model base", async () => {
    const { context, tenant_id, names } = await setUp();
    const { models } = context;

    const chatty = { ...context, models: { ...models, chatName: "gpt-4o-mini" } };
    const embedding = { ...context, models: { ...models, embeddingName: "text-embedding-3-small" } };

    expect((await names(chatty, tenant_id)).runs).toEqual(["beat mood", "mara traits", "scene mood"]);
    expect((await names(embedding, tenant_id)).runs).toEqual(["beat base", "mara base", "scene base"]);
  });

  test("in base runs base alone: its enrichers are still what they were", async () => {
    const { context, tenant_id, names } = await setUp();

    expect(await names(withBase(context, { version: 2 }), tenant_id)).toEqual({
      runs: ["beat base", "mara base", "scene base"],
      skipped: 3,
      run: 3,
    });
  });
});

describe("only", () => {
  test("what is stale", async () => {
    const { context, tenant_id, scene, beat, mara, names } = await setUp();
    await accept(context, tenant_id, [{ ...beat, text: "Somebody came." }, entity("lore")]);
    await context.pool.query("delete from enrichments where source_id = $1", [scene.source_id]);

    const older = withPipelines(context, traits({ version: 2 }));

    expect(mara.source_type).toBe("character");
    expect(await names(older, tenant_id, { only: "stale" })).toEqual({
      runs: ["beat base", "mara traits"],
      skipped: 0,
      run: 3,
    });
  });

  test("what one version made, of what is stale", async () => {
    const { context, tenant_id, beat, names } = await setUp();
    const second = withPipelines(context, mood({ version: 2 }));
    await enqueueRuns(
      context.pool,
      (
        await decideBy(
          second,
          await scopeFor(second, tenant_id, { pipelines: ["mood"], ids: [beat.source_id] }),
          9,
        )
      ).runs,
    );
    await work(second);
    const third = withPipelines(context, mood({ version: 3 }));
    const of = (stale_version: number) => names(third, tenant_id, { pipelines: ["mood"], stale_version });

    expect(await of(1)).toEqual({ runs: ["scene mood"], skipped: 0, run: 1 });
    expect(await of(2)).toEqual({ runs: ["beat mood"], skipped: 0, run: 1 });
    expect(await of(3)).toEqual({ runs: [], skipped: 0, run: 0 });
  });

  test("what other code made, which is not stale", async () => {
    const code = (fingerprint: string): Pipeline => ({
      ...mood(),
      code: { folder: "", fingerprint, files: {} },
    });
    const { context, tenant_id, names } = await setUp(code("ts-1"), traits());
    const other = withPipelines(context, code("ts-2"));

    expect(await names(other, tenant_id, { only: "stale" })).toEqual({ runs: [], skipped: 0, run: 0 });
    expect(await names(context, tenant_id, { only: "recoded" })).toEqual({ runs: [], skipped: 0, run: 0 });
    expect(await names(other, tenant_id, { only: "recoded" })).toEqual({
      runs: ["beat mood", "scene mood"],
      skipped: 0,
      run: 2,
    });
  });

  test("what is missing", async () => {
    const { context, tenant_id, scene, beat, names } = await setUp();
    const lore = entity("lore");
    await accept(context, tenant_id, [{ ...beat, text: "Somebody came." }, lore]);
    await context.pool.query("delete from enrichments where source_id = $1", [scene.source_id]);

    expect(await names(context, tenant_id, { only: "missing" })).toEqual({
      runs: ["? base", "scene mood"],
      skipped: 0,
      run: 2,
    });
  });

  test("what failed, until a later run has healed it", async () => {
    const { context, tenant_id, scene, names } = await setUp();
    const failing = withPipelines(context, {
      ...mood(),
      graph: echo(() => Promise.reject(new Error("no")), { name: "mood" }).graph,
    });
    await enqueueRuns(
      context.pool,
      (
        await decideBy(
          context,
          await scopeFor(context, tenant_id, { force: true, pipelines: ["mood"], types: ["scene"] }),
          9,
        )
      ).runs,
    );
    await work(failing);
    expect((await listRuns(context.pool, { source_id: scene.source_id, limit: 1 }))[0]?.status).toBe(
      "failed",
    );

    const failed = { runs: ["scene mood"], skipped: 0, run: 1 };
    expect(await names(context, tenant_id, { only: "failed" })).toEqual(failed);
    expect(await names(context, tenant_id)).toEqual({ ...failed, skipped: 5 });

    await enqueueRuns(context.pool, (await decideBy(context, await scopeFor(context, tenant_id), 9)).runs);
    await work(context);
    expect(await names(context, tenant_id, { only: "failed" })).toEqual({ runs: [], skipped: 0, run: 0 });
    expect(await names(context, tenant_id)).toEqual({ runs: [], skipped: 6, run: 0 });
  });
});

describe("of all entities, those", () => {
  const force = true;

  test("of some types", async () => {
    const { context, tenant_id, names } = await setUp();

    expect((await names(context, tenant_id, { force, types: ["beat", "character"] })).runs).toEqual([
      "beat base",
      "mara base",
    ]);
  });

  test("with some ids, page by page", async () => {
    const { context, tenant_id, scene, mara } = await setUp();
    const ids = [scene.source_id, randomUUID(), mara.source_id];

    const { runs, seen } = await decideBy(context, await scopeFor(context, tenant_id, { force, ids }), 1);

    expect(runs.map(({ source_id }) => source_id)).toEqual([mara.source_id, scene.source_id]);
    expect(seen).toBe(2);
  });

  test("that changed at or since a moment", async () => {
    const { context, tenant_id, scene, beat, names } = await setUp();
    await context.pool.query("update entities set changed_at = '2024-05-01T12:00:00Z' where source_id = $1", [
      scene.source_id,
    ]);
    await context.pool.query("update entities set changed_at = '2024-05-01T11:59:59Z' where source_id = $1", [
      beat.source_id,
    ]);

    const asked = { force, types: ["scene", "beat"] as const, changed_since: "2024-05-01T14:00:00+02:00" };

    expect((await names(context, tenant_id, { ...asked, types: [...asked.types] })).runs).toEqual([
      "scene base",
    ]);
  });

  test("that were made before the reingest", async () => {
    const { context, tenant_id, names, beat } = await setUp();
    await context.pool.query(
      "update entities set created_at = '2024-05-01T12:00:00.000001Z' where tenant_id = $1",
      [tenant_id],
    );
    await context.pool.query("update entities set created_at = '2024-05-01T12:00:00Z' where source_id = $1", [
      beat.source_id,
    ]);

    expect(
      (await names(context, tenant_id, { force, created_until: "2024-05-01 12:00:00+00" })).runs,
    ).toEqual(["beat base"]);
  });

  test("of one tenant", async () => {
    const { context } = await setUp();
    const other = await setUp();

    const { runs } = await decideBy(context, await scopeFor(context, other.tenant_id, { force }), 100);

    expect(runs.map(({ source_id }) => source_id).toSorted()).toEqual(
      [other.scene, other.beat, other.mara].map(({ source_id }) => source_id).toSorted(),
    );
  });
});

describe("an enricher", () => {
  test("is left out where its own condition is not met", async () => {
    const told = mood({ trigger: { on: "entity.ingested", when: ({ told }) => told === true } });
    const context = runtime(database, told);
    const tenant_id = randomUUID();
    const [yes, no] = [entity("scene", { metadata: { told: true } }), entity("scene")];
    await accept(context, tenant_id, [yes, no]);
    const names = namesOf({ yes, no });

    expect(await names(context, tenant_id)).toEqual({ runs: ["no base", "yes base"], skipped: 0, run: 3 });
    await work(context);
    expect(await names(context, tenant_id, { force: true, pipelines: ["mood"] })).toEqual({
      runs: ["yes mood"],
      skipped: 0,
      run: 1,
    });
    expect(await names(withPipelines(context, { ...told, version: 2 }), tenant_id)).toEqual({
      runs: ["yes mood"],
      skipped: 2,
      run: 1,
    });
  });

  test("does not follow where base's own condition is not met", async () => {
    const context = withBase(runtime(database, mood()), {
      trigger: { on: "entity.changed", when: ({ draft }) => draft !== true },
    });
    const tenant_id = randomUUID();
    const [done, draft] = [entity("scene"), entity("scene", { metadata: { draft: true } })];
    await accept(context, tenant_id, [done, draft]);

    expect(await namesOf({ done, draft })(context, tenant_id)).toEqual({
      runs: ["done base"],
      skipped: 0,
      run: 2,
    });
  });

  test("whose condition throws is named", async () => {
    const broken = mood({
      trigger: {
        on: "entity.ingested",
        when: () => {
          throw new Error("no such thing");
        },
      },
    });
    const { context, tenant_id } = await setUp();

    const scope = await scopeFor(withPipelines(context, { ...broken, version: 2 }), tenant_id);

    await expect(decideBy(context, scope, 100)).rejects.toMatchObject({
      code: "PIPELINE_INVALID",
      message: expect.stringContaining("mood"),
    });
  });

  test("under a feature flag is left out until the tenant has it", async () => {
    const { context, tenant_id, names } = await setUp();
    const flagged = withPipelines(
      context,
      mood({ version: 2, trigger: { on: "entity.ingested", types: ["scene"], flag: "moods" } }),
    );

    expect((await scopeFor(flagged, tenant_id)).leftOut).toEqual([
      { pipeline: "mood", because: "its feature flag moods is off for this tenant" },
    ]);
    expect((await names(flagged, tenant_id)).runs).toEqual([]);
    expect((await names(flagged, tenant_id, { pipelines: ["mood"] })).runs).toEqual([]);
    await context.pool.query(
      "insert into tenant_controls (tenant_id, flags) values ($1, '{\"moods\": true}')",
      [tenant_id],
    );
    expect((await names(flagged, tenant_id)).runs).toEqual(["scene mood"]);
  });

  test("of other events runs by its name alone", async () => {
    const { context, tenant_id, names } = await setUp();
    const later = withPipelines(
      context,
      says({ name: "later", trigger: { on: "entity.enriched", types: ["scene"] } }),
    );

    expect((await names(later, tenant_id)).runs).toEqual([]);
    expect((await names(later, tenant_id, { pipelines: ["later"] })).runs).toEqual(["scene later"]);
  });

  test("by its name runs only on what base has stored", async () => {
    const { context, tenant_id, names } = await setUp();
    const fresh = entity("scene");
    await accept(context, tenant_id, [fresh]);

    const { pairs } = await decideBy(
      context,
      await scopeFor(context, tenant_id, { pipelines: ["mood"], types: ["scene"] }),
      9,
    );

    expect(pairs).toMatchObject([{ entities: 1, skipped: 1, run: 0 }]);
    expect((await names(context, tenant_id, { only: "missing" })).runs).toEqual(["? base"]);
  });

  test("that needs a chat model is left out where there is none, and refused by its name", async () => {
    const { context, tenant_id, names } = await setUp();
    const needy = withPipelines(context, withoutRules(mood()));

    expect((await scopeFor(needy, tenant_id)).leftOut).toEqual([
      { pipeline: "mood", because: "it needs a chat model, and none is configured" },
    ]);
    expect(await names(needy, tenant_id)).toEqual({ runs: [], skipped: 4, run: 0 });
    await expect(scopeFor(needy, tenant_id, { pipelines: ["mood"] })).rejects.toMatchObject({
      code: "MODEL_REQUIRED",
      message: expect.stringContaining("mood"),
    });
  });
});

describe("pages", () => {
  test("of any size decide what one pass decides", async () => {
    const { context, tenant_id } = await setUp(
      mood({ trigger: { on: "entity.ingested", when: ({ told }) => told !== false } }),
      traits(),
    );
    await accept(
      context,
      tenant_id,
      Array.from({ length: 7 }, (_, n) =>
        entity(n % 2 ? "scene" : "character", { metadata: { told: n % 3 > 0 } }),
      ),
    );
    for (const asked of [
      {},
      { force: true },
      { only: "missing" },
      { types: ["scene", "lore"] },
    ] satisfies Asked[]) {
      const scope = await scopeFor(context, tenant_id, asked);
      const whole = await decideBy(context, scope, 5_000);
      for (const limit of [1, 2, 3, 10]) {
        const { runs, seen, skipped, pairs, pages } = await decideBy(context, scope, limit);
        expect({ runs, seen, skipped, pairs }).toEqual({ ...whole, pages: undefined });
        expect(pages.slice(0, -1).map((page) => page.seen)).toEqual(pages.slice(1).map(() => limit));
      }
      const { seen, skipped, pairs } = whole;
      expect(await decideAtOnce(context, scope)).toEqual({ seen, skipped, pairs });
    }
  });

  test("count the octets of what runs, and those whose vectors are known", async () => {
    const { context, tenant_id, scene, mara } = await setUp();
    await accept(context, tenant_id, [{ ...scene, text: "Æther" }, entity("lore", { text: "" })]);

    const { pairs } = await decideBy(
      context,
      await scopeFor(context, tenant_id, { force: true, types: ["scene", "character", "lore"] }),
      9,
    );

    const octets = Buffer.byteLength(mara.text);
    expect(
      pairs.map(({ source_type, pipeline, octets, known }) => ({ source_type, pipeline, octets, known })),
    ).toEqual([
      { source_type: "character", pipeline: "base", octets, known: octets },
      { source_type: "character", pipeline: "traits", octets, known: 0 },
      { source_type: "lore", pipeline: "base", octets: 0, known: 0 },
      { source_type: "scene", pipeline: "base", octets: 6, known: 0 },
      { source_type: "scene", pipeline: "mood", octets: 6, known: 0 },
    ]);
  });
});

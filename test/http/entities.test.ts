import { randomUUID } from "node:crypto";
import { beforeAll, describe, expect, test } from "vitest";
import { removeEntities } from "../../src/intake.ts";
import { listRuns } from "../../src/ledger/read.ts";
import { storeEnrichments } from "../../src/store/enrichments.ts";
import type { Context } from "../../src/worker/context.ts";
import { baseStamp, scene, storeScene } from "../support/content.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { openTestApp, type TestApp } from "../support/http.ts";
import { echo } from "../support/pipelines.ts";
import { emptyLedger, runtime, startWorker } from "../support/runtime.ts";

let database: TestDatabase;
let context: Context;
let api: TestApp;
beforeAll(async () => {
  database = await testDatabase();
  context = runtime(
    database,
    echo(({ text }) => ({ said: text })),
  );
  api = await openTestApp({ ...context, maxTextChars: 1_000 });
});

const entitiesOf = (tenant_id = api.tenant) => `/tenants/${tenant_id}/entities`;
const urlOf = (
  { source_type, source_id }: { source_type: string; source_id: string },
  tenant_id = api.tenant,
) => `${entitiesOf(tenant_id)}/${source_type}/${source_id}`;

async function push(entities: readonly unknown[], more: object = {}) {
  const payload = { entities, ...more };
  return await api.ask({ method: "PUT", url: entitiesOf(), payload }, api.keys.write);
}

async function show(entity: { source_type: string; source_id: string }, query = "") {
  return await api.ask({ url: `${urlOf(entity)}${query}` }, api.keys.read);
}

describe("pushing entities", () => {
  test("answers what became of each, in the order in which they were given", async () => {
    const [edited, kept, moved] = [scene(), scene(), scene({ source_type: "beat" })];
    expect((await push([edited, kept, moved])).json()).toEqual({
      items: [edited, kept, moved].map(({ source_type, source_id }) => ({
        source_type,
        source_id,
        version: 1,
        change: "created",
      })),
    });
    const again = await push([
      { ...moved, metadata: { order: 2 } },
      { ...edited, text: "Other." },
      { source_type: "lore", source_id: randomUUID().toUpperCase() },
      kept,
    ]);
    expect(again.statusCode).toBe(200);
    expect(
      again.json().items.map(({ change, version }: Record<string, unknown>) => `${change} ${version}`),
    ).toEqual(["moved 1", "changed 2", "created 1", "unchanged 1"]);
  });

  test("makes the runs that follow, in the tenant of the path", async () => {
    const entity = scene();
    await push([{ ...entity, metadata: { tenant_id: api.foreign } }]);
    const [run] = await listRuns(database.pool, { source_id: entity.source_id });
    expect(run).toMatchObject({ pipeline: "base", tenant_id: api.tenant, status: "pending" });
  });

  test("says who gave them, so that an import does not take them for its own", async () => {
    const [plain, named] = [scene(), scene()];
    await push([plain]);
    await push([named], { source: "editor" });
    expect((await show(plain)).json()).toMatchObject({ source: "api" });
    expect((await show(named)).json()).toMatchObject({ source: "editor" });
  });

  test("takes one by its own path", async () => {
    const { title, text, ...key } = scene();
    const put = (payload: object) => api.ask({ method: "PUT", url: urlOf(key), payload }, api.keys.write);
    expect((await put({ title, text })).json()).toEqual({
      source_type: "scene",
      source_id: key.source_id,
      version: 1,
      change: "created",
    });
    expect((await put({ title, text: "Other." })).json()).toMatchObject({ version: 2, change: "changed" });
    expect((await put({ ...key, text })).json()).toMatchObject({ code: "INPUT_INVALID" });
  });

  test("takes all or none, and names those that are given twice", async () => {
    const [fine, twice] = [scene(), scene()];
    const refused = await push([fine, twice, { ...twice, source_id: twice.source_id.toUpperCase() }]);
    expect(refused.json()).toMatchObject({
      status: 400,
      code: "INPUT_INVALID",
      detail: `expected each entity once, got again: scene ${twice.source_id}`,
    });
    expect((await show(fine)).statusCode).toBe(404);
  });

  test("takes no text that is longer than the longest, and says which", async () => {
    const [short, long] = [scene({ text: "x".repeat(1_000) }), scene({ text: "x".repeat(1_001) })];
    expect((await push([short])).statusCode).toBe(200);
    expect((await push([scene(), long])).json()).toMatchObject({
      status: 413,
      code: "INPUT_TOO_LARGE",
      detail: `the text of scene ${long.source_id}: expected at most 1000 characters, got: 1001`,
    });
  });

  test("cleans what Postgres cannot hold out of texts, and keeps the rest", async () => {
    const entity = scene({
      title: "a\u0000b",
      text: "\ud800 lone; '); drop table entities; --",
      metadata: { "k\u0000ey": ["\udc00", 1e300, -0, null, { "'": '"' }] },
    });
    expect((await push([entity])).statusCode).toBe(200);
    expect((await show(entity)).json()).toMatchObject({
      title: "ab",
      text: "\ufffd lone; '); drop table entities; --",
      metadata: { key: ["\ufffd", 1e300, 0, null, { "'": '"' }] },
    });
  });

  test.each<[string, unknown]>([
    ["no entities", { entities: [] }],
    ["too many entities", { entities: Array.from({ length: 501 }, () => scene()) }],
    ["an unknown type", { entities: [{ ...scene(), source_type: "tenant" }] }],
    ["an id that is none", { entities: [{ ...scene(), source_id: "1" }] }],
    ["an unknown field", { entities: [{ ...scene(), version: 7 }] }],
    ["a tenant of its own", { entities: [{ ...scene(), tenant_id: randomUUID() }] }],
    ["a text that is none", { entities: [{ ...scene(), text: 7 }] }],
    ["a title like a text", { entities: [{ ...scene(), title: "x".repeat(1_001) }] }],
    ["metadata that is a list", { entities: [{ ...scene(), metadata: [] }] }],
    ["metadata as deep as a pit", { entities: [{ ...scene(), metadata: { pit: nested(200) } }] }],
    ["metadata as deep as the sea", { entities: [{ ...scene(), metadata: { parent_id: nested(3_000) } }] }],
    ["a parent that no index takes", { entities: [{ ...scene(), metadata: { parent_id: noise(5_000) } }] }],
    ["a source that is a NUL", { source: "\u0000", entities: [scene()] }],
    ["a list", [scene()]],
    ["null", null],
  ])("refuses %s", async (_, payload) => {
    const refused = await api.ask(
      {
        method: "PUT",
        url: entitiesOf(),
        payload: JSON.stringify(payload),
        headers: { "content-type": "application/json" },
      },
      api.keys.write,
    );
    expect(refused.json()).toMatchObject({ status: 400, code: "INPUT_INVALID" });
  });

  test("takes metadata as deep as a person nests", async () => {
    const entity = scene({ metadata: { deep: nested(50), parent_id: randomUUID() } });
    expect((await push([entity])).statusCode).toBe(200);
    expect((await show(entity)).json().metadata).toEqual(entity.metadata);
  });
});

function nested(levels: number): unknown {
  let inner: unknown = "x";
  for (let level = 0; level < levels; level++) inner = level % 2 ? [inner] : { inner };
  return inner;
}

/** Nothing that could be compressed. */
function noise(length: number): string {
  return Array.from({ length: length / 36 }, () => randomUUID()).join("");
}

describe("showing an entity", () => {
  test("tells what was made of it, by what, and how long ago", async () => {
    await emptyLedger(database);
    const entity = scene({ text: "One." });
    await push([entity]);
    await using worker = startWorker(context, database);
    await worker.untilIdle();

    const shown = (await show(entity)).json();
    expect(shown).toMatchObject({
      ...entity,
      tenant_id: api.tenant,
      version: 1,
      source: "api",
      document: {
        kind: "narration",
        language: "en",
        source_version: 1,
        pipeline_version: 1,
        stale: false,
        chunks: 1,
      },
      enrichments: [
        { pipeline: "echo", outcome: "completed", output: { said: "One." }, model: "echo", stale: false },
      ],
      open_runs: [],
    });
    expect(shown).not.toHaveProperty("chunks");
    for (const { stored_at, age_seconds } of [shown.document, ...shown.enrichments]) {
      const age = (Date.now() - Date.parse(stored_at)) / 1_000;
      expect(Math.abs(age - age_seconds)).toBeLessThan(2);
    }
  });

  test("tells that it is stale, and what is still to be done, once it has changed", async () => {
    const key = await storeScene(database.pool, api.tenant, ["One.", "Two."]);
    await enrich(key, { mood: "glad" });
    await push([{ source_type: "scene", source_id: key.source_id, text: "Other." }]);

    expect((await show(key)).json()).toMatchObject({
      version: 2,
      text: "Other.",
      document: { source_version: 1, stale: true, chunks: 2 },
      enrichments: [{ pipeline: "mood", output: { mood: "glad" }, source_version: 1, stale: true }],
      open_runs: [{ pipeline: "base", status: "pending", source_version: 2, attempt: 0 }],
    });
  });

  test("shows its chunks where they are asked for, from the one that is named", async () => {
    const key = await storeScene(database.pool, api.tenant, ["One.", "Two.", "Three."]);
    const texts = async (query: string) => {
      const { chunks } = (await show(key, query)).json();
      return chunks.map(({ ordinal, text }: { ordinal: number; text: string }) => `${ordinal} ${text}`);
    };
    expect(await texts("?chunks=true")).toEqual(["0 One.", "1 Two.", "2 Three."]);
    expect(await texts("?chunks=true&first_chunk=2")).toEqual(["2 Three."]);
    expect(await texts("?chunks=true&first_chunk=3")).toEqual([]);
  });

  test("knows one of which nothing was made yet", async () => {
    const entity = scene();
    await push([entity]);
    expect((await show(entity)).json()).toMatchObject({ document: null, enrichments: [] });
  });

  test("answers 404 for one that is another tenant's, and for one that is nobody's", async () => {
    const theirs = await storeScene(database.pool, api.foreign, ["Secret."]);
    for (const key of [theirs, scene()])
      expect((await show(key)).json()).toMatchObject({ status: 404, code: "NOT_FOUND" });
    const crossed = await api.ask({ url: urlOf(theirs, api.foreign) }, api.keys.read);
    expect(crossed.json()).toMatchObject({ status: 403, code: "FORBIDDEN" });
  });

  test.each(["?chunks=maybe", "?first_chunk=-1", "?first_chunk=1e99", "?first_chunk=x", "?other=1"])(
    "refuses %s",
    async (query) => {
      expect((await show(scene(), query)).json()).toMatchObject({ status: 400, code: "INPUT_INVALID" });
    },
  );

  test.each([
    "scene/1",
    "tenant/00000000-0000-0000-0000-000000000000",
    "scene/%00",
    "scene/..%2f..%2fentities",
  ])("refuses the path %s", async (path) => {
    const refused = await api.ask({ url: `${entitiesOf()}/${path}` }, api.keys.read);
    expect(refused.json()).toMatchObject({ status: 400, code: "INPUT_INVALID" });
  });

  async function enrich(key: Awaited<ReturnType<typeof storeScene>>, output: object) {
    await storeEnrichments(database.pool, [
      {
        key,
        pipeline: "mood",
        source_version: 1,
        outcome: "completed",
        stamp: baseStamp,
        run_id: randomUUID(),
        output,
      },
    ]);
  }
});

describe("listing entities", () => {
  test("goes through all of a tenant by pages, without texts, and shows no other's", async () => {
    const own = await openTestApp(context);
    const given = [scene(), scene(), scene({ source_type: "character" }), scene({ source_type: "story" })];
    await own.ask({ method: "PUT", url: entitiesOf(own.tenant), payload: { entities: given } });
    await storeScene(database.pool, own.foreign, ["Secret."]);
    const list = async (query: string) =>
      (await own.ask({ url: `${entitiesOf(own.tenant)}?${query}` }, own.keys.read)).json();

    const listed: { source_type: string; source_id: string }[] = [];
    let next: string | null = "";
    while (next !== null) {
      const page: { items: typeof listed; next: string | null } = await list(
        `limit=3${next && `&cursor=${next}`}`,
      );
      listed.push(...page.items);
      next = page.next;
    }
    const name = (key: { source_type: string; source_id: string }) => `${key.source_type} ${key.source_id}`;
    expect(listed.map(name)).toEqual(given.map(name).toSorted());
    expect(listed[0]).toMatchObject({ title: "The pier", version: 1, source: "api", metadata: {} });
    expect(listed[0]).not.toHaveProperty("text");
    expect((await list("source_type=story")).items).toHaveLength(1);
    expect(await list("source_type=beat")).toEqual({ items: [], next: null });
  });

  test.each([
    "limit=0",
    "limit=201",
    "limit=1.5",
    "cursor=x",
    "cursor=eyJhIjoxfQ",
    "source_type=tenant",
    "other=1",
  ])("refuses %s", async (query) => {
    const refused = await api.ask({ url: `${entitiesOf()}?${query}` }, api.keys.read);
    expect(refused.json()).toMatchObject({ status: 400, code: "INPUT_INVALID" });
  });
});

describe("deleting entities", () => {
  test("deletes one with what was made of it and what was to be done, and then knows it no more", async () => {
    const entity = scene();
    await push([entity]);
    const deletion = () => api.ask({ method: "DELETE", url: urlOf(entity) }, api.keys.write);
    const deleted = await deletion();
    expect([deleted.statusCode, deleted.body]).toEqual([204, ""]);
    expect((await deletion()).json()).toMatchObject({ status: 404, code: "NOT_FOUND" });
    expect((await show(entity)).statusCode).toBe(404);
    expect(await listRuns(database.pool, { source_id: entity.source_id })).toMatchObject([
      { status: "cancelled" },
    ]);
  });

  test("deletes many, and says which were there", async () => {
    const [one, two] = [scene(), scene()];
    await push([one]);
    const theirs = await storeScene(database.pool, api.foreign, ["Secret."]);
    const keys = [two, theirs, one].map(({ source_type, source_id }) => ({ source_type, source_id }));
    const answer = await api.ask(
      { method: "POST", url: `${entitiesOf()}/delete`, payload: { keys } },
      api.keys.write,
    );
    expect(answer.json()).toEqual({ items: keys.map((key, nth) => ({ ...key, deleted: nth === 2 })) });
    const left = await api.ask({ url: urlOf(theirs, api.foreign) }, api.keys.foreignRead);
    expect(left.statusCode).toBe(200);
  });

  test("counts on from where it was when it comes back", async () => {
    const entity = scene();
    await push([entity]);
    await removeEntities(context.pool, context.registry, api.tenant, [entity]);
    expect((await push([entity])).json().items).toMatchObject([{ version: 3, change: "created" }]);
  });

  test.each<[string, object]>([
    ["nothing", { keys: [] }],
    ["one twice", { keys: Array.from({ length: 2 }, () => ({ source_type: "scene", source_id: nobody })) }],
    ["more than a key", { keys: [{ source_type: "scene", source_id: nobody, text: "" }] }],
    ["no keys", {}],
  ])("refuses %s", async (_, payload) => {
    const refused = await api.ask({ method: "POST", url: `${entitiesOf()}/delete`, payload }, api.keys.write);
    expect(refused.json()).toMatchObject({ status: 400, code: "INPUT_INVALID" });
  });
});

const nobody = "00000000-0000-4000-8000-000000000000";

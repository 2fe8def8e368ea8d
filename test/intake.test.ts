import { randomUUID } from "node:crypto";
import { beforeAll, describe, expect, test } from "vitest";
import { acceptEntities, removeEntities } from "../src/intake.ts";
import { listRuns } from "../src/ledger/read.ts";
import type { NewEntity } from "../src/store/entities.ts";
import { eventsOf } from "../src/store/events.ts";
import type { Context } from "../src/worker/context.ts";
import { chunkOf, ingested, scene, storeAnswer } from "./support/content.ts";
import { type TestDatabase, testDatabase } from "./support/database.ts";
import { claim, only } from "./support/ledger.ts";
import { echo } from "./support/pipelines.ts";
import { runtime } from "./support/runtime.ts";

let database: TestDatabase;
let context: Context;
beforeAll(async () => {
  database = await testDatabase();
  context = runtime(database);
});

function accept(tenant_id: string, entities: readonly NewEntity[], from: Context = context) {
  return acceptEntities(from.pool, from.registry, { tenant_id, source: "test", entities });
}

function remove(tenant_id: string, entities: readonly NewEntity[]) {
  return removeEntities(context.pool, context.registry, tenant_id, entities);
}

async function eventNames(tenant_id: string, entity: NewEntity) {
  return (await eventsOf(database.pool, { ...entity, tenant_id })).map(
    ({ event, version }) => `${event} ${version}`,
  );
}

describe("taking entities in", () => {
  test("tells each that is new or has changed, and makes its run; the rest makes neither", async () => {
    const tenant_id = randomUUID();
    const [kept, edited, moved] = [scene(), scene(), scene({ metadata: { order: 1 } })];
    await accept(tenant_id, [kept, edited, moved]);
    await accept(tenant_id, [kept, { ...edited, text: "other" }, { ...moved, metadata: { order: 2 } }]);

    expect(await eventNames(tenant_id, kept)).toEqual(["entity.changed 1"]);
    expect(await eventNames(tenant_id, edited)).toEqual(["entity.changed 1", "entity.changed 2"]);
    expect(await eventNames(tenant_id, moved)).toEqual(["entity.changed 1"]);
    const runs = await listRuns(database.pool, { tenant_id });
    expect(runs).toHaveLength(3);
    expect(runs.find(({ source_id }) => source_id === edited.source_id)?.source_version).toBe(2);
  });

  test("lets no entity claim whom it mentions: runs follow from that", async () => {
    const tenant_id = randomUUID();
    const forged = scene({
      metadata: { mentions: [{ source_type: "scene", source_id: randomUUID() }], mood: "sly" },
    });
    const watching = runtime(
      database,
      echo(() => ({ said: "" }), { trigger: { on: "entity.changed", mentioned: true } }),
    );
    await accept(tenant_id, [forged], watching);
    await remove(tenant_id, [forged]);

    const events = await eventsOf(database.pool, { ...forged, tenant_id });
    expect(events.map(({ metadata }) => metadata)).toEqual([{ mood: "sly" }, { mood: "sly" }]);
    expect(new Set((await listRuns(database.pool, { tenant_id })).map(({ source_id }) => source_id))).toEqual(
      new Set([forged.source_id]),
    );
  });

  test("takes all of a batch or nothing", async () => {
    const tenant_id = randomUUID();
    const good = scene();
    const bad = { ...scene(), source_id: "no uuid" };

    await expect(accept(tenant_id, [good, bad])).rejects.toThrow("uuid");
    expect(await eventNames(tenant_id, good)).toEqual([]);
    expect(await listRuns(database.pool, { tenant_id })).toEqual([]);
  });

  test("names the pipeline whose condition throws, and takes nothing in", async () => {
    const tenant_id = randomUUID();
    const trigger = {
      on: "entity.changed",
      when: () => {
        throw new Error("cannot tell");
      },
    };
    const broken = runtime(
      database,
      echo(() => ({ said: "" }), { trigger }),
    );

    await expect(accept(tenant_id, [scene()], broken)).rejects.toMatchObject({
      code: "PIPELINE_INVALID",
      message: "echo: trigger.when threw: cannot tell",
    });
    expect(await listRuns(database.pool, { tenant_id })).toEqual([]);
  });

  test("of nothing does nothing", async () => {
    expect(await accept(randomUUID(), [])).toEqual([]);
  });
});

describe("taking entities out", () => {
  test("tells it, at a version of its own, and cancels what was still to be done", async () => {
    const tenant_id = randomUUID();
    const [gone, stays] = [scene(), scene()];
    await accept(tenant_id, [gone, stays]);

    expect(await remove(tenant_id, [gone])).toMatchObject([{ source_id: gone.source_id, version: 2 }]);
    expect(await eventNames(tenant_id, gone)).toEqual(["entity.changed 1", "entity.deleted 2"]);
    const runs = await listRuns(database.pool, { tenant_id });
    expect(new Map(runs.map(({ source_id, status }) => [source_id, status]))).toEqual(
      new Map([
        [gone.source_id, "cancelled"],
        [stays.source_id, "pending"],
      ]),
    );
  });

  test("asks what runs about it to stop", async () => {
    const tenant_id = randomUUID();
    const gone = scene();
    await accept(tenant_id, [gone]);
    const run = only((await claim(database.pool, "base")).filter((run) => run.tenant_id === tenant_id));
    await remove(tenant_id, [gone]);

    const { rows } = await database.pool.query(
      "select status, cancel_requested_at from pipeline_runs where id = $1",
      [run.id],
    );
    expect(rows).toEqual([{ status: "running", cancel_requested_at: expect.any(Date) }]);
  });

  test("takes nothing of another tenant, and nothing twice", async () => {
    const [ours, theirs] = [randomUUID(), randomUUID()];
    const entity = scene();
    await accept(ours, [entity]);
    await accept(theirs, [entity]);

    expect(await remove(ours, [entity])).toHaveLength(1);
    expect(await remove(ours, [entity])).toEqual([]);
    expect(await eventNames(theirs, entity)).toEqual(["entity.changed 1"]);
  });

  test("an entity that comes back goes on counting, so that no version ever means two contents", async () => {
    const tenant_id = randomUUID();
    const entity = scene();
    await accept(tenant_id, [entity]);
    await storeAnswer(database.pool, { ...entity, tenant_id }, ingested([chunkOf("One.")]));
    await remove(tenant_id, [entity]);
    const [again] = await accept(tenant_id, [{ ...entity, text: "other" }]);

    expect(again).toMatchObject({ change: "created", version: 3 });
    expect(await eventNames(tenant_id, entity)).toEqual([
      "entity.changed 1",
      "entity.deleted 2",
      "entity.changed 3",
    ]);
  });
});

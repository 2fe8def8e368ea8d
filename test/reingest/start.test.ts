import { randomUUID } from "node:crypto";
import { beforeAll, describe, expect, test } from "vitest";
import { ReingestRequest } from "../../src/reingest/request.ts";
import { type StartOptions, startReingest } from "../../src/reingest/start.ts";
import type { Context } from "../../src/worker/context.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { echo } from "../support/pipelines.ts";
import { fillTenant, startProducer, told, untilEnded, untilReingest } from "../support/reingests.ts";
import { runtime } from "../support/runtime.ts";

let database: TestDatabase;
let context: Context;
beforeAll(async () => {
  database = await testDatabase();
  context = runtime(
    database,
    echo(() => ({ said: "" })),
  );
});

async function start(tenant_id: string, given: Partial<ReingestRequest> = {}, options: StartOptions = {}) {
  return await startReingest(context, tenant_id, ReingestRequest.parse(given), options);
}

async function count(table: string, tenant_id: string): Promise<number> {
  const { rows } = await database.pool.query(
    `select count(*)::integer as rows from ${table} where tenant_id = $1`,
    [tenant_id],
  );
  return rows[0].rows;
}

describe("starting", () => {
  test("plans, stores what it understood and tells of it; no run is made yet", async () => {
    const tenant_id = randomUUID();
    await fillTenant(context, tenant_id, 10, { everyNth: 2 });
    const { reingest, counts, filters, is_new } = await start(tenant_id, { types: ["scene"], max_tokens: 7 });

    expect(is_new).toBe(true);
    expect(counts).toMatchObject({ entities: 10, pairs: 20, skipped: 5, run: 15 });
    expect(filters).toMatchObject({ types: ["scene"], pipelines: ["base"], batch_size: 100 });
    expect(reingest).toMatchObject({
      status: "planned",
      total: 20,
      priority: -100,
      max_tokens: 7,
      request: filters,
    });
    expect(await told(database.pool, reingest)).toEqual([
      { event: "reingest.requested", metadata: { filters, totals: counts } },
    ]);
    const { rows } = await database.pool.query("select event from events where tenant_id = $1 and id = $2", [
      tenant_id,
      reingest.event_id,
    ]);
    expect(rows).toEqual([{ event: "reingest.requested" }]);
    expect(await count("pipeline_runs", tenant_id)).toBe(0);
  });

  test("decides, when it runs, about what it planned", async () => {
    const tenant_id = randomUUID();
    await fillTenant(context, tenant_id, 30, { everyNth: 3 });
    const { reingest, counts } = await start(tenant_id, { batch_size: 7 });
    await fillTenant(context, randomUUID(), 5);
    startProducer(context, database);
    const { cursor, skipped, enqueued } = await untilReingest(
      database.pool,
      reingest,
      ({ produced_at }) => produced_at !== null,
    );

    expect(skipped).toBe(counts.skipped);
    expect(enqueued + (cursor?.follows ?? 0)).toBe(counts.run);
  });

  test("of a tenant that has nothing completes by itself", async () => {
    const { reingest, counts } = await start(randomUUID());
    startProducer(context, database);

    expect(counts.pairs).toBe(0);
    expect(await untilEnded(database.pool, reingest)).toMatchObject({ status: "completed", total: 0 });
  });

  test("refuses what the request gets wrong, before it stores anything", async () => {
    const tenant_id = randomUUID();

    await expect(start(tenant_id, { pipelines: ["eccho"] })).rejects.toMatchObject({ code: "INPUT_INVALID" });
    expect(await count("reingests", tenant_id)).toBe(0);
  });
});

describe("a key", () => {
  test("answers the same reingest and counts to the same request, even once it has ended", async () => {
    const tenant_id = randomUUID();
    await fillTenant(context, tenant_id, 3, { everyNth: 1 });
    const first = await start(tenant_id, { pipelines: ["base"] }, { key: "monday" });
    await fillTenant(context, randomUUID(), 3);
    const again = await start(tenant_id, {}, { key: "monday" });

    expect(again).toEqual({ ...first, is_new: false });
    expect(await count("events", tenant_id)).toBe(1);
  });

  test("makes one reingest of many requests at once", async () => {
    const tenant_id = randomUUID();
    const started = await Promise.all(
      Array.from({ length: 8 }, () => start(tenant_id, {}, { key: "at once" })),
    );

    expect(new Set(started.map(({ reingest }) => reingest.id)).size).toBe(1);
    expect(started.filter(({ is_new }) => is_new)).toHaveLength(1);
    expect(await count("reingests", tenant_id)).toBe(1);
    expect(await count("events", tenant_id)).toBe(1);
  });

  test("is refused for another request", async () => {
    const tenant_id = randomUUID();
    await start(tenant_id, {}, { key: "tuesday" });

    await expect(start(tenant_id, { force: true }, { key: "tuesday" })).rejects.toMatchObject({
      code: "IDEMPOTENCY_CONFLICT",
    });
  });

  test("is its tenant's own", async () => {
    const [one, other] = [
      await start(randomUUID(), {}, { key: "k" }),
      await start(randomUUID(), {}, { key: "k" }),
    ];

    expect(one.reingest.id).not.toBe(other.reingest.id);
  });
});

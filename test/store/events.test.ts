import { randomUUID } from "node:crypto";
import { beforeAll, expect, test } from "vitest";
import {
  enrichmentsBy,
  enrichmentsOf,
  previousOutput,
  storeEnrichments,
} from "../../src/store/enrichments.ts";
import { appendEvents, eventsOf } from "../../src/store/events.ts";
import { readFlags } from "../../src/store/flags.ts";
import { baseStamp, storeScene } from "../support/content.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});

test("events are kept in the order in which they were appended, with the run that caused them", async () => {
  const key = { tenant_id: randomUUID(), source_type: "scene", source_id: randomUUID() } as const;
  const names = Array.from({ length: 50 }, (_, n) => `noticed.${n}`);
  const run_id = randomUUID();
  const ids = await appendEvents(
    database.pool,
    names.map((event) => ({ ...key, event, version: 3, metadata: { event }, run_id })),
  );

  const events = await eventsOf(database.pool, key);
  expect(events.map(({ id, event }) => ({ id, event }))).toEqual(
    names.map((event, n) => ({ id: ids[n], event })),
  );
  expect(events[0]).toMatchObject({ ...key, version: 3, run_id, metadata: { event: "noticed.0" } });
  expect(Date.parse(events[0]?.occurred_at ?? "")).not.toBeNaN();
});

test("an enrichment replaces the one that its pipeline stored before, and no other", async () => {
  const key = await storeScene(database.pool, randomUUID(), ["One."]);
  const enrich = (pipeline: string, output: unknown) =>
    storeEnrichments(database.pool, [
      {
        key,
        pipeline,
        source_version: 1,
        outcome: "completed",
        stamp: baseStamp,
        run_id: randomUUID(),
        output,
      },
    ]);
  await enrich("mood", { mood: "glad" });
  await enrich("traits", { traits: [] });
  await enrich("mood", { mood: "grim" });

  expect(await previousOutput(database.pool, key, "mood")).toEqual({ mood: "grim" });
  expect(await previousOutput(database.pool, key, "other")).toBeUndefined();
  expect((await enrichmentsOf(database.pool, key)).map(({ pipeline }) => pipeline)).toEqual([
    "mood",
    "traits",
  ]);
  expect(await enrichmentsBy(database.pool, key.tenant_id, "mood")).toMatchObject([
    { output: { mood: "grim" } },
  ]);
});

test("a flag is on only where it is true, whatever else somebody wrote there", async () => {
  const [tenant, without] = [randomUUID(), randomUUID()];
  await database.pool.query("insert into tenant_controls (tenant_id, flags) values ($1, $2)", [
    tenant,
    { on: true, off: false, odd: "yes" },
  ]);

  const flags = await readFlags(database.pool, [tenant, without]);
  expect(flags.get(tenant)).toEqual({ on: true, off: false, odd: false });
  expect(flags.get(without)).toBeUndefined();
});

import { afterAll, beforeAll, expect, test } from "vitest";
import { databaseFaults, type FaultKind, workerFaults } from "./faults.ts";
import { openTheatre, scene, type Theatre } from "./storm.ts";

let theatre: Theatre;
beforeAll(async () => {
  theatre = await openTheatre({
    seed: 1,
    workers: 2,
    slots: 6,
    leaseMs: 2_000,
    tenants: 2,
    entitiesPerTenant: 4,
    troubles: 10,
    thinksMs: [150, 250],
    smallDiskMb: 400,
  });
}, 60_000);
afterAll(() => theatre.close(), 60_000);

const kinds = [...Object.keys(workerFaults), ...Object.keys(databaseFaults)] as FaultKind[];

test.each(kinds)("every promise is kept: %s", { timeout: 120_000 }, async (kind) => {
  const began = performance.now();
  const { broken, resumedMs, counts } = await scene(theatre, { kind, ms: kind in workerFaults ? 4_000 : 1_000 });
  console.info(kind, Math.round(performance.now() - began), resumedMs, JSON.stringify(counts));
  expect(broken).toEqual([]);
});

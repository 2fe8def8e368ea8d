import { afterEach, expect, test } from "vitest";
import { openTheatre, scene, type Theatre } from "./storm.ts";

const open: Theatre[] = [];
afterEach(async () => {
  for (const theatre of open.splice(0)) await theatre.close();
});

async function theatre(options = {}): Promise<Theatre> {
  const opened = await openTheatre({
    seed: 1,
    workers: 2,
    slots: 6,
    leaseMs: 2_000,
    tenants: 2,
    entitiesPerTenant: 6,
    troubles: 10,
    thinksMs: [150, 250],
    ...options,
  });
  open.push(opened);
  return opened;
}

test("killed", { timeout: 60_000 }, async () => {
  const stage = await theatre();
  const outcome = await scene(stage, { kind: "killed", worker: 0, ms: 500 });
  console.info(outcome);
  expect(outcome.broken).toEqual([]);
});

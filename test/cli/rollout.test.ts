import { randomUUID } from "node:crypto";
import { beforeAll, expect, test } from "vitest";
import { acceptEntities } from "../../src/intake.ts";
import { loadRegistry } from "../../src/registry.ts";
import { run } from "../support/cli.ts";
import { scene } from "../support/content.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { projectInTest, saying } from "../support/projects.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});

test("a second version is tried, compared and promoted by commands, and is the one that works from then on", {
  timeout: 120_000,
}, async () => {
  const graphs = {
    echo: "./graphs/echo/pipeline.ts:default",
    "echo@2": "./graphs/echo-2/pipeline.ts:default",
  };
  const { registry } = await projectInTest(graphs, {
    "graphs/echo/pipeline.ts": saying("first"),
    "graphs/echo-2/pipeline.ts": saying("second", { version: 2 }),
  });
  const settings = { DATABASE_URL: database.url, LOREGRAPH_GRAPHS: registry };
  const lore = (...args: string[]) => run(args, settings);
  const json = async (...args: string[]) => JSON.parse((await lore(...args, "--json")).out);
  const tenant_id = randomUUID();
  const take = async (count: number) => {
    const entities = Array.from({ length: count }, () => scene());
    await acceptEntities(database.pool, await loadRegistry(registry), {
      tenant_id,
      source: "test",
      entities,
    });
    await lore("worker", "--until-idle");
    return entities;
  };
  const [tried] = await take(2);
  const refused = await lore("rollout", "echo", "--to", "2", "--share", "0%");
  const started = await json("rollout", "echo", "--to", "2", "--share", "100%");
  await lore("worker", "--until-idle");
  const [status] = await json("rollout", "status", "echo");
  const diff = await lore("diff", "echo", "1", "2", "--limit", "1");
  const promoted = await lore("rollout", "promote", "echo");
  await take(1);
  const stamps = await json("status", "--stale", "--pipeline", "echo");
  const [explained] = await json("explain", String(tried?.source_id), "echo");
  const ended = await lore("rollout", "drop", "echo");

  expect(refused).toMatchObject({
    code: 2,
    err: expect.stringContaining("above 0% and up to 100%, got: 0%"),
  });
  expect(started).toMatchObject({ enqueued: 2, rollout: { from_version: 1, to_version: 2, share: 1 } });
  expect(status).toMatchObject({
    status: "running",
    candidates: 2,
    agreement: 0,
    runs: { done: 2, open: 0 },
  });
  expect(diff.out).toMatch(/^echo 1 and 2: 0 of 2 outputs are equal\n/);
  expect(diff.out).toContain('said: "first" became "second"');
  expect(promoted.out).toContain("echo 2 runs now: 2 of its outputs are stored");
  expect(stamps).toMatchObject({
    stale: 0,
    stamps: [{ pipeline: "echo", pipeline_version: 2, outputs: 3, standing: "current" }],
  });
  expect(explained).toMatchObject({ output: { pipeline_version: 2 }, stale: [] });
  expect(explained.chain[0]).toMatchObject({
    run: { pipeline: "echo@2" },
    nodes: { note: expect.stringContaining("checkpoint") },
  });
  expect(ended).toMatchObject({ code: 2, err: expect.stringContaining("no rollout of echo is open") });
});

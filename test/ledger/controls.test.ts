import { randomUUID } from "node:crypto";
import pg from "pg";
import { beforeAll, describe, expect, test } from "vitest";
import {
  capPipeline,
  changeTenant,
  listPaused,
  pausePipeline,
  pauseTenant,
  readPipelineControls,
  readTenantControls,
  resumePipeline,
  resumeTenant,
} from "../../src/ledger/controls.ts";
import { enqueueRuns } from "../../src/ledger/enqueue.ts";
import { readFlags } from "../../src/store/flags.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { claim, newPipeline, only, request } from "../support/ledger.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});

/** Resolves with the channel once the workers are woken, by what `work` does. */
async function heard(work: () => Promise<unknown>): Promise<string> {
  const client = new pg.Client({ connectionString: database.url });
  await client.connect();
  try {
    await client.query("listen loregraph_runs");
    const told = new Promise<string>((resolve) => client.on("notification", (n) => resolve(n.channel)));
    await work();
    return await told;
  } finally {
    await client.end();
  }
}

const unsteered = { paused_at: null, weight: 1, max_running: null, flags: {} };

describe("a tenant", () => {
  test("whom nobody has steered is as all are at first, and leaves no row behind", async () => {
    const tenant_id = randomUUID();
    const asked = "select from tenant_controls where tenant_id = $1";

    expect(await readTenantControls(database.pool, tenant_id)).toEqual({ tenant_id, ...unsteered });
    expect(await resumeTenant(database.pool, tenant_id)).toEqual({ tenant_id, ...unsteered });
    expect((await database.pool.query(asked, [tenant_id])).rowCount).toBe(0);
  });

  test("that is paused gets nothing claimed until it is resumed, and others go on", async () => {
    const pipeline = newPipeline();
    const [held, free] = [request({ pipeline }), request({ pipeline })];
    await pauseTenant(database.pool, held.tenant_id);
    await enqueueRuns(database.pool, [held, free]);

    expect(only(await claim(database.pool, pipeline)).tenant_id).toBe(free.tenant_id);
    await resumeTenant(database.pool, held.tenant_id);
    expect(only(await claim(database.pool, pipeline)).tenant_id).toBe(held.tenant_id);
  });

  test("stays paused since the first time", async () => {
    const tenant_id = randomUUID();
    const first = await pauseTenant(database.pool, tenant_id);

    expect(first.paused_at).toBeInstanceOf(Date);
    expect(await pauseTenant(database.pool, tenant_id)).toEqual(first);
  });

  test("is paused and resumed by one row, and not one of its runs is touched", async () => {
    const pipeline = newPipeline();
    const { tenant_id } = request({ pipeline });
    await enqueueRuns(
      database.pool,
      Array.from({ length: 500 }, () => request({ pipeline, tenant_id })),
    );
    const versions = async () => {
      const rows = "select array_agg(xmin::text || ctid::text order by id) as all from pipeline_runs";
      return (await database.pool.query(`${rows} where tenant_id = $1`, [tenant_id])).rows[0].all;
    };
    const before = await versions();

    await pauseTenant(database.pool, tenant_id);
    expect(await claim(database.pool, pipeline)).toEqual([]);
    await resumeTenant(database.pool, tenant_id);
    expect(before).toHaveLength(500);
    expect(await versions()).toEqual(before);
  });

  test("changes in what is named, and stays as it is in the rest", async () => {
    const tenant_id = randomUUID();
    const change = (given: Parameters<typeof changeTenant>[2]) =>
      changeTenant(database.pool, tenant_id, given);
    const { paused_at } = await pauseTenant(database.pool, tenant_id);

    await change({ weight: 2.5, flags: { moods: true, traits: false, old: true } });
    await change({ max_running: 3, flags: { old: null, moods: false } });
    expect(await change({})).toEqual({
      ...{ tenant_id, paused_at, weight: 2.5, max_running: 3 },
      flags: { moods: false, traits: false },
    });
    expect(await change({ max_running: null })).toMatchObject({ weight: 2.5, max_running: null });
    expect(await change({ max_running: 0 })).toMatchObject({ max_running: 0 });
    expect((await readFlags(database.pool, [tenant_id])).get(tenant_id)).toEqual({
      moods: false,
      traits: false,
    });
  });

  test("that is new starts with what is named", async () => {
    const tenant_id = randomUUID();
    const flags = { moods: true, gone: null };
    expect(await changeTenant(database.pool, tenant_id, { max_running: 0, flags })).toEqual({
      ...{ ...unsteered, tenant_id, max_running: 0 },
      flags: { moods: true },
    });
  });
});

describe("a pipeline", () => {
  test("that is paused gets nothing claimed until it is resumed, whoever wants it", async () => {
    const [pipeline, other] = [newPipeline(), newPipeline()];
    await enqueueRuns(database.pool, [
      request({ pipeline }),
      request({ pipeline }),
      request({ pipeline: other }),
    ]);
    const paused = await pausePipeline(database.pool, pipeline);

    expect(await claim(database.pool, pipeline)).toEqual([]);
    expect(await claim(database.pool, other)).toHaveLength(1);
    expect(await pausePipeline(database.pool, pipeline)).toEqual(paused);
    expect(await resumePipeline(database.pool, pipeline)).toEqual({
      pipeline,
      paused_at: null,
      max_running: null,
    });
    expect(await claim(database.pool, pipeline)).toHaveLength(2);
  });

  test("keeps its cap while it is paused and resumed", async () => {
    const pipeline = newPipeline();
    await enqueueRuns(
      database.pool,
      [1, 2, 3].map(() => request({ pipeline })),
    );
    await capPipeline(database.pool, pipeline, 2);
    await pausePipeline(database.pool, pipeline);
    await resumePipeline(database.pool, pipeline);

    expect(await claim(database.pool, pipeline)).toHaveLength(2);
    expect((await readPipelineControls(database.pool)).get(pipeline)?.max_running).toBe(2);
    await capPipeline(database.pool, pipeline, null);
    expect(await claim(database.pool, pipeline)).toHaveLength(1);
  });
});

test.each<[string, () => Promise<unknown>]>([
  ["a tenant is resumed", () => resumeTenant(database.pool, randomUUID())],
  ["a tenant may have more", () => changeTenant(database.pool, randomUUID(), { max_running: 5 })],
  ["a pipeline is resumed", () => resumePipeline(database.pool, newPipeline())],
  ["a pipeline may have more", () => capPipeline(database.pool, newPipeline(), 5)],
])("workers are woken when %s", async (_, work) => {
  expect(await heard(work)).toBe("loregraph_runs");
});

test("what is paused is listed: of all, or of one tenant beside the pipelines", async () => {
  const [one, other, pipeline] = [randomUUID(), randomUUID(), newPipeline()];
  for (const tenant of [one, other]) await pauseTenant(database.pool, tenant);
  await pausePipeline(database.pool, pipeline);
  const { rows } = await database.pool.query(
    `insert into reingests (tenant_id, status, request, priority, total, paused_because)
     values ($1, 'paused', '{}', -100, 1, 'max_cost_usd') returning id`,
    [one],
  );
  const names = async (tenant?: string) =>
    (await listPaused(database.pool, tenant)).map(({ kind, name }) => `${kind} ${name}`);

  expect(await names()).toEqual(expect.arrayContaining([`tenant ${one}`, `tenant ${other}`]));
  const ofOne = await names(one);
  expect(ofOne).toEqual(
    expect.arrayContaining([`tenant ${one}`, `reingest ${rows[0].id}`, `pipeline ${pipeline}`]),
  );
  expect(ofOne).not.toContain(`tenant ${other}`);
  expect(await listPaused(database.pool, one)).toContainEqual({
    ...{ kind: "reingest", name: rows[0].id, since: null, because: "max_cost_usd" },
  });
  expect(await names(other)).not.toContain(`reingest ${rows[0].id}`);
});

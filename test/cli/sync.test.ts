import { randomUUID } from "node:crypto";
import { beforeAll, expect, test, vi } from "vitest";
import { acceptEntities } from "../../src/intake.ts";
import { run, type Said, startInTest } from "../support/cli.ts";
import { scene } from "../support/content.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { holdImport } from "../support/held.ts";
import { type MainServiceDouble, startMainService } from "../support/main-service.ts";
import { gate, runtime } from "../support/runtime.ts";

let database: TestDatabase;

beforeAll(async () => {
  database = await testDatabase();
});

const settingsFor = ({ url, key }: Pick<MainServiceDouble, "url" | "key">) => ({
  DATABASE_URL: database.url,
  LOREGRAPH_MAIN_SERVICE_URL: url,
  LOREGRAPH_MAIN_SERVICE_KEY: key,
});

const sync = (service: MainServiceDouble, tenant: string, ...more: readonly string[]): Promise<Said> =>
  run(["sync", "--tenant", tenant, ...more], settingsFor(service));

async function titlesOf(tenant: string): Promise<readonly string[]> {
  const { rows } = await database.pool.query(
    "select title from entities where tenant_id = $1 order by title",
    [tenant],
  );
  return rows.map(({ title }) => title);
}

test("takes in a tenant, then what changed", async () => {
  const [service, tenant] = [await startMainService(), randomUUID()];
  const weir = service.put(tenant, { title: "The weir" });
  service.put(tenant, { source_type: "character", title: "Ines" });
  const first = await sync(service, tenant, "--json");
  const none = { created: 0, changed: 0, moved: 0, unchanged: 0, deleted: 0, rejected: 0, rejections: [] };

  expect(first.code).toBe(0);
  expect(JSON.parse(first.out)).toEqual({ ...none, created: 2, full: true, cursor: "change-2" });
  expect(first.err).toContain("syncing 2");

  service.remove(tenant, weir);
  expect(JSON.parse((await sync(service, tenant, "--json")).out)).toEqual({
    ...none,
    deleted: 1,
    full: false,
    cursor: "change-3",
  });
  expect(await titlesOf(tenant)).toEqual(["Ines"]);
});

test("ends with 3 and names what was rejected", async () => {
  const [service, tenant] = [await startMainService(), randomUUID()];
  const long = service.put(tenant, { text: "x".repeat(51) });
  service.put(tenant);
  const said = await run(["sync", "--tenant", tenant], {
    ...settingsFor(service),
    LOREGRAPH_MAX_TEXT_CHARS: "50",
  });

  expect(said.code).toBe(3);
  expect(said.out).toContain(
    "all of the main service: 1 created, 0 changed, 0 moved, 0 unchanged, 0 deleted, 1 rejected\n",
  );
  expect(said.out).toContain(
    `rejected: scene ${long.source_id}: text: expected at most 50 characters, got: 51`,
  );
});

test("ends with 2 where no main service is set, before it looks for a database", async () => {
  const said = await run(["sync", "--tenant", randomUUID()], { DATABASE_URL: "postgres://127.0.0.1:1/none" });

  expect(said).toMatchObject({ code: 2, out: "", err: expect.stringContaining("CONFIG_INVALID") });
  expect(said.err).toContain("LOREGRAPH_MAIN_SERVICE_URL is not set");
});

test("ends with 1, without the key, where the main service refuses it", async () => {
  const service = await startMainService();
  const said = await run(
    ["sync", "--tenant", randomUUID()],
    settingsFor({ url: service.url, key: "mistaken" }),
  );

  expect(said).toMatchObject({ code: 1, out: "", err: expect.stringContaining("SOURCE_REFUSED") });
  expect(said.err).not.toContain("mistaken");
  expect(said.err).not.toMatch(/\n\s+at /);
});

test("empties a tenant only where it is told that it may", async () => {
  const [service, tenant] = [await startMainService(), randomUUID()];
  const { pool, registry } = runtime(database);
  const entities = [scene({ title: "The weir" })];
  await acceptEntities(pool, registry, { tenant_id: tenant, source: "main-service", entities });

  expect(await sync(service, tenant, "--full")).toMatchObject({
    code: 1,
    err: expect.stringContaining("--allow-empty"),
  });
  expect(await titlesOf(tenant)).toEqual(["The weir"]);
  expect(await sync(service, tenant, "--full", "--allow-empty")).toMatchObject({ code: 0 });
  expect(await titlesOf(tenant)).toEqual([]);
});

test("ends with 1 while another sync of the tenant is under way", async () => {
  const [service, tenant] = [await startMainService(), randomUUID()];
  service.put(tenant);
  const held = gate();
  service.before(() => held.pass());
  const first = startInTest(["sync", "--tenant", tenant, "--json"], settingsFor(service));
  await held.reached;

  expect(await sync(service, tenant)).toMatchObject({
    code: 1,
    out: "",
    err: expect.stringContaining(`another sync of tenant ${tenant} is under way`),
  });
  held.open();
  const said = await first.ended;
  expect(said.code).toBe(0);
  expect(JSON.parse(said.out)).toMatchObject({ created: 1 });
});

test("killed in the middle is completed by syncing again", async () => {
  const [service, tenant] = [await startMainService(), randomUUID()];
  const stories = Array.from({ length: 3 }, (_, at) =>
    service.put(tenant, { source_type: "story", title: `Story ${at}` }),
  );
  service.put(tenant, { title: "Scene", metadata: { order: 150 } });
  const held = await holdImport(database, tenant);
  const killed = startInTest(["sync", "--tenant", tenant], settingsFor(service));
  await held.waiting(1);
  killed.kill("SIGKILL");
  await killed.ended;
  expect(await titlesOf(tenant)).toEqual(stories.map(({ title }) => title));
  await held.release();
  await vi.waitUntil(async () => !(await isSyncing()), { timeout: 15_000 });

  const again = await sync(service, tenant, "--json");
  expect(JSON.parse(again.out)).toMatchObject({ created: 1, unchanged: 3, full: true });
  expect(await titlesOf(tenant)).toEqual(["Scene", ...stories.map(({ title }) => title)]);
});

/** Does a sync, of whatever process, still hold its lock? */
async function isSyncing(): Promise<boolean> {
  const { rows } = await database.pool.query(
    `select from pg_locks
     where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())`,
  );
  return rows.length > 0;
}

test("interrupted, ends with 130 and goes on the next time", async () => {
  const [service, tenant] = [await startMainService(), randomUUID()];
  service.put(tenant);
  const asked = gate();
  service.before(() => asked.pass());
  const command = startInTest(["sync", "--tenant", tenant], settingsFor(service));
  await asked.reached;
  command.kill("SIGINT");

  expect(await command.ended).toMatchObject({
    code: 130,
    out: "",
    err: expect.stringContaining("interrupted"),
  });
  asked.open();
  expect(await sync(service, tenant)).toMatchObject({ code: 0, out: expect.stringContaining("1 created") });
});

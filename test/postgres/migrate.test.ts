import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { migrate, pendingMigrations } from "../../src/postgres/migrate.ts";
import { testDatabase } from "../support/database.ts";
import { withClient } from "../support/postgres.ts";
import { startProcess } from "../support/process.ts";

const schema = "loregraph";
let folder: string;
let all: readonly string[];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "loregraph-migrations-"));
  await writeFile(join(folder, "0001_words.sql"), "-- Words.\ncreate table words (word text);\n");
  const files = await readdir(new URL("../../migrations", import.meta.url));
  all = files.filter((file) => file.endsWith(".sql")).map((file) => file.replace(".sql", ""));
});

afterAll(() => rm(folder, { recursive: true }));

test("applies every migration in order, once, into the schema", async () => {
  const { pool, url } = await testDatabase({ migrated: false });
  expect(await pendingMigrations(pool, { schema })).toEqual(all.toSorted());

  expect(await migrate(url, { schema })).toEqual(all.toSorted());
  expect(await migrate(pool, { schema })).toEqual([]);
  expect(await pendingMigrations(pool, { schema })).toEqual([]);
  const { rows } = await pool.query(
    "select count(*)::int as tables from pg_tables where schemaname = 'public'",
  );
  expect(rows).toEqual([{ tables: 0 }]);
});

test("lets one of four concurrent calls apply, and the others wait", async () => {
  const { url } = await testDatabase({ migrated: false });
  const applied = await Promise.all([1, 2, 3, 4].map(() => migrate(url, { schema })));
  expect(applied.toSorted((a, b) => a.length - b.length)).toEqual([[], [], [], all.toSorted()]);
});

test("lets one of three processes apply", async () => {
  const { url } = await testDatabase({ migrated: false });
  const processes = [1, 2, 3].map(() => startProcess("migrator.ts", [url]));
  const applied = await Promise.all(processes.map(async (each) => JSON.parse(await each.line())));
  expect(applied.toSorted((a, b) => a.length - b.length)).toEqual([[], [], all.toSorted()]);
});

test("says that it waits for another one, which the end of that one's connection ends", async () => {
  const { url } = await testDatabase({ migrated: false });
  const onWait = vi.fn();
  const applied = await withClient(url, async (client) => {
    await client.query("select pg_advisory_lock(hashtextextended('loregraph migrates loregraph', 0))");
    const migrating = migrate(url, { schema, folder, onWait });
    await vi.waitUntil(() => onWait.mock.calls.length > 0);
    return { migrating };
  });
  expect(await applied.migrating).toEqual(["0001_words"]);
  expect(onWait).toHaveBeenCalledOnce();
});

test("keeps schemas of one database apart", async () => {
  const { pool, url } = await testDatabase({ migrated: false });
  await migrate(url, { schema: "one", folder });
  await migrate(url, { schema: "two", folder });
  const { rows } = await pool.query("select schemaname from pg_tables where tablename = 'words' order by 1");
  expect(rows).toEqual([{ schemaname: "one" }, { schemaname: "two" }]);
});

test("names the file and line that failed, keeps those before it, and goes on once it is corrected", async () => {
  const { pool, url } = await testDatabase({ migrated: false });
  const broken = join(folder, "0002_broken.sql");
  await writeFile(broken, "-- Why.\ncreate table half (word text);\nalter table missing add word text;\n");

  const migrating = migrate(url, { schema, folder });
  await expect(migrating).rejects.toMatchObject({ code: "MIGRATION_FAILED" });
  await expect(migrating).rejects.toThrow('migrations/0002_broken.sql: relation "missing" does not exist');
  expect(await pendingMigrations(pool, { schema, folder })).toEqual(["0002_broken"]);
  expect((await pool.query("select to_regclass('half') as half")).rows).toEqual([{ half: null }]);

  await writeFile(broken, "-- Why.\ncreate table half (\n  word tekst\n);\n");
  await expect(migrate(url, { schema, folder })).rejects.toThrow("migrations/0002_broken.sql:3: type");
  await writeFile(broken, "-- Why.\ncreate table half (word text);\n");
  expect(await migrate(url, { schema, folder })).toEqual(["0002_broken"]);
  await rm(broken);
});

test("writes nothing to the console", async () => {
  const { url } = await testDatabase({ migrated: false });
  const said = (["log", "info", "warn", "error"] as const).map((name) => vi.spyOn(console, name));
  await migrate(url, { schema, folder });
  for (const spy of said) expect(spy).not.toHaveBeenCalled();
});

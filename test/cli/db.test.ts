import { existsSync } from "node:fs";
import { chmod, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, test, vi } from "vitest";
import { psqlDatabase, resetDatabase, startDatabase, stopDatabase } from "../../src/cli/db.ts";
import { testDatabase } from "../support/database.ts";
import { freshHome, withClient } from "../support/postgres.ts";

let home: string;
let embedded: Parameters<typeof startDatabase>[0];

beforeAll(async () => {
  home = await freshHome();
  embedded = { databaseUrl: undefined, home, schema: "loregraph" };
});

afterEach(() => vi.unstubAllEnvs());
afterAll(async () => {
  await resetDatabase(embedded);
  await rm(home, { recursive: true });
});

test("starts a server that stays until it is stopped", async () => {
  const said = await startDatabase(embedded);
  const url = /postgres:\S+(?=,)/.exec(said)?.[0] ?? "";
  await withClient(url, (client) => client.query("select 1"));

  expect(await stopDatabase(embedded)).toBe("PostgreSQL stopped");
  expect(await stopDatabase(embedded)).toBe("PostgreSQL was not running");
});

test("deletes the embedded data, even while the server runs", async () => {
  await startDatabase(embedded);
  expect(await resetDatabase(embedded)).toBe(`deleted ${join(home, "postgres")}`);
  expect(existsSync(join(home, "postgres"))).toBe(false);
});

test("starts nothing embedded where DATABASE_URL is set", async () => {
  await expect(startDatabase({ ...embedded, databaseUrl: "postgres://elsewhere/lore" })).rejects.toThrow(
    "DATABASE_URL is set",
  );
});

test("drops our schema, and nothing else, in the database of DATABASE_URL", async () => {
  const { pool, url } = await testDatabase();
  await pool.query("create table public.theirs (word text)");

  expect(await resetDatabase({ ...embedded, databaseUrl: url })).toBe("dropped the schema loregraph");
  const { rows } = await pool.query(
    "select to_regnamespace('loregraph') as ours, to_regclass('theirs') as theirs",
  );
  expect(rows).toEqual([{ ours: null, theirs: "theirs" }]);
});

test("hands psql the password in a file, in no argument, and answers its exit code", async () => {
  const said = join(home, "said");
  await psqlOnPath(`printf '%s\\n' "$@" > '${said}'
file=$(printf %s "$1" | sed 's/.*passfile=//; s/%2F/\\//g; s/&.*//')
cat "$file" >> '${said}'
exit 3`);
  const { url } = await testDatabase();
  const { password } = new URL(url);

  expect(await psqlDatabase({ ...embedded, databaseUrl: url }, ["-c", "select 1"])).toBe(3);
  const [address, ...rest] = (await readFile(said, "utf8")).trim().split("\n");
  expect(address).toContain("options=-csearch_path%3Dloregraph%2Cpublic");
  expect(address).not.toContain(password);
  expect(rest).toEqual(["-c", "select 1", `*:*:*:*:${password}`]);
});

test("tells how to connect where there is no psql", async () => {
  vi.stubEnv("PATH", home);
  const { url } = await testDatabase();
  await expect(psqlDatabase({ ...embedded, databaseUrl: url }, [])).rejects.toThrow(
    "there is no psql on the PATH; connect another client to DATABASE_URL",
  );
});

async function psqlOnPath(script: string): Promise<void> {
  const folder = join(home, "bin");
  await mkdir(folder);
  await writeFile(join(folder, "psql"), `#!/bin/sh\n${script}\n`);
  await chmod(join(folder, "psql"), 0o755);
  vi.stubEnv("PATH", `${folder}:${process.env.PATH}`);
}

test("a reset leaves a schema alone that Loregraph did not make", async () => {
  const { pool, url } = await testDatabase({ migrated: false });
  await pool.query("create schema shop create table orders (number integer)");
  const settings = { databaseUrl: url, home: "unused", schema: "shop" };

  await expect(resetDatabase(settings)).rejects.toMatchObject({ code: "CONFIG_INVALID" });
  expect((await pool.query("select count(*) from shop.orders")).rowCount).toBe(1);
});

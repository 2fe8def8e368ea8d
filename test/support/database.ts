import { randomBytes } from "node:crypto";
import { afterAll, inject } from "vitest";
import { openPool, type Pool } from "../../src/db.ts";
import { databaseUrl, withClient } from "./postgres.ts";

export type TestDatabase = { readonly pool: Pool; readonly url: string };

const opened: { readonly name: string; readonly pool: Pool }[] = [];

/**
 * A migrated database of its own, for `beforeAll`; it is dropped, and its pool ended, after the file's last test.
 * With `migrated: false` it is empty.
 */
export async function testDatabase({ migrated = true } = {}): Promise<TestDatabase> {
  const server = inject("postgresUrl");
  const original = migrated ? inject("template") : "template0";
  const name = `${inject("template")}_${randomBytes(4).toString("hex")}`;
  await withClient(server, (client) => client.query(`create database ${name} template ${original}`));
  const url = databaseUrl(server, name);
  const pool = openPool(url);
  opened.push({ name, pool });
  return { pool, url };
}

afterAll(async () => {
  for (const { name, pool } of opened) {
    if (!pool.ended) await pool.end();
    await withClient(inject("postgresUrl"), (client) => client.query(`drop database ${name} with (force)`));
  }
});

import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import pg from "pg";
import type { TestProject } from "vitest/node";
import { migrate } from "../../src/postgres/migrate.ts";

declare module "vitest" {
  interface ProvidedContext {
    /** The server that the tests share. */
    readonly postgresUrl: string;
    /** The migrated database that each test file clones. */
    readonly template: string;
  }
}

/** Before all tests: a server (that of TEST_DATABASE_URL, else a fresh embedded one) with a migrated template. */
export default async function setup({ provide }: TestProject): Promise<() => Promise<void>> {
  const server = await testServer();
  const template = `loregraph_test_${Date.now().toString(36)}_${process.pid}`;
  const stop = () => dropDatabases(server.url, template).finally(server.stop);
  try {
    await makeTemplate(server.url, template);
  } catch (error) {
    await stop();
    throw error;
  }
  provide("postgresUrl", server.url);
  provide("template", template);
  return stop;
}

type TestServer = { readonly url: string; stop(): Promise<void> };

async function testServer(): Promise<TestServer> {
  const given = process.env.TEST_DATABASE_URL;
  if (given) return { url: given, stop: async () => {} };
  // A process of its own, which Ctrl-C does not reach: it stops the server when its stdin ends, so even where vitest
  // is killed.
  const keeper = spawn(process.execPath, [fileURLToPath(new URL("server-keeper.ts", import.meta.url))], {
    stdio: ["pipe", "pipe", "inherit"],
    detached: true,
  });
  const ended = once(keeper, "exit");
  const [url] = await Promise.race([once(createInterface(keeper.stdout), "line"), ended]);
  if (typeof url !== "string") throw new Error("the embedded PostgreSQL of the tests did not start");
  return {
    url,
    async stop() {
      keeper.stdin.end();
      await ended;
    },
  };
}

/** An empty folder for an embedded server. As root, the server runs as another user, who must be able to enter. */
export async function freshHome(): Promise<string> {
  const home = await mkdtemp(join(tmpdir(), "loregraph-test-"));
  await chmod(home, 0o755);
  return home;
}

/** No test outlives a power cut, so the embedded server need not wait for the disk. */
async function makeTemplate(url: string, template: string): Promise<void> {
  await withClient(url, async (client) => {
    if (!process.env.TEST_DATABASE_URL) {
      await client.query("alter system set fsync = off");
      await client.query("select pg_reload_conf()");
    }
    await client.query(`create database ${template}`);
  });
  await migrate(databaseUrl(url, template), { schema: "loregraph" });
  await withClient(url, (client) => client.query(`alter database ${template} allow_connections false`));
}

/** The template, and what a test that was killed left behind. */
async function dropDatabases(url: string, template: string): Promise<void> {
  await withClient(url, async (client) => {
    const { rows } = await client.query("select datname from pg_database where starts_with(datname, $1)", [
      template,
    ]);
    for (const { datname } of rows) await client.query(`drop database if exists "${datname}" with (force)`);
  });
}

/** The URL of another database of the same server. */
export function databaseUrl(url: string, database: string): string {
  const other = new URL(url);
  other.pathname = `/${database}`;
  return other.href;
}

/** Lends a connection for one piece of work. */
export async function withClient<Result>(url: string, work: (client: pg.Client) => Promise<Result>) {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

import { existsSync } from "node:fs";
import { appendFile, mkdir, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { totalmem } from "node:os";
import { join } from "node:path";
import type pg from "pg";
import { afterAll, afterEach, beforeAll, expect, test, vi } from "vitest";
import { deleteServer, endServer, keepServer, useServer } from "../../src/postgres/embedded.ts";
import { freshHome, withClient } from "../support/postgres.ts";
import { startProcess, type TestProcess } from "../support/process.ts";

let home: string;

beforeAll(async () => {
  home = await freshHome();
});

afterEach(() => endServer(home));

afterAll(async () => {
  await deleteServer(home);
  await rm(home, { recursive: true });
});

const inFolder = (...names: string[]) => join(home, "postgres", ...names);
const isRunning = () => existsSync(inFolder("data", "postmaster.pid"));
const log = () => readFile(inFolder("server.log"), "utf8");
const countStarts = async () => (await log()).match(/LOG: {2}starting PostgreSQL/g)?.length ?? 0;

/** Another process that uses the server, once it does. */
async function anotherUser(): Promise<TestProcess & { url: string }> {
  const user = startUser();
  return { ...user, url: await user.line() };
}

const startUser = () => startProcess("server-user.ts", [home]);

async function postmasterPid(): Promise<number> {
  return Number((await readFile(inFolder("data", "postmaster.pid"), "utf8")).split("\n")[0]);
}

test("starts a server for its first user and stops it after the last", async () => {
  const { url, release } = await useServer(home);
  const version = await withClient(url, (client) => client.query("show server_version_num"));
  await release();

  expect(Number(version.rows[0].server_version_num)).toBeGreaterThanOrEqual(180_000);
  expect(isRunning()).toBe(false);
});

test("listens on this machine only and asks for its password", async () => {
  const { url, release } = await useServer(home);
  const guess = new URL(url);
  guess.password = "guess";

  await expect(withClient(guess.href, async () => {})).rejects.toThrow("password authentication failed");
  const { rows } = await withClient(url, (client) => client.query("show listen_addresses"));
  expect(rows).toEqual([{ listen_addresses: "127.0.0.1" }]);
  expect((await stat(inFolder("password"))).mode & 0o777).toBe(0o600);
  expect((await stat(inFolder())).mode & 0o777).toBe(0o700);
  await release();
});

test("buffers an eighth of the memory, within bounds", async () => {
  const { url, release } = await useServer(home);
  const { rows } = await withClient(url, (client) =>
    client.query(
      "select setting::integer * 8 / 1024 as mebibytes from pg_settings where name = 'shared_buffers'",
    ),
  );
  const eighth = Math.min(totalmem(), process.constrainedMemory() || totalmem()) / 8 / 1_024 ** 2;

  expect(rows).toEqual([{ mebibytes: Math.floor(Math.min(1_024, Math.max(128, eighth))) }]);
  await release();
});

test("knows capitals beyond ASCII without a locale of the operating system", async () => {
  const { url, release } = await useServer(home);
  const { rows } = await withClient(url, (client) =>
    client.query("select to_tsvector('simple', 'Élan ÜBER')::text as words"),
  );
  expect(rows).toEqual([{ words: "'élan':1 'über':2" }]);
  await release();
});

test("keeps what was stored, and its port, from one start to the next", async () => {
  const first = await useServer(home);
  await withClient(first.url, (client) => client.query("create table kept (word text)"));
  await first.release();

  const second = await useServer(home);
  expect(second.url).toBe(first.url);
  await withClient(second.url, (client) => client.query("select word from kept"));
  await second.release();
});

test("is found by a second process and stopped by whichever leaves last", async () => {
  const first = await useServer(home);
  const second = await anotherUser();
  expect(second.url).toBe(first.url);

  await first.release();
  expect(isRunning()).toBe(true);
  await second.finish();
  expect(isRunning()).toBe(false);
});

test("becomes one server when three processes want it first, all at once", async () => {
  await deleteServer(home);
  const started = [startUser(), startUser(), startUser()];
  const urls = await Promise.all(started.map((user) => user.line()));
  expect(new Set(urls).size).toBe(1);

  await Promise.all(started.map((user) => user.finish()));
  expect(await countStarts()).toBe(1);
  expect(isRunning()).toBe(false);
});

test("counts a killed process as gone", async () => {
  const { url, release } = await useServer(home);
  const killed = await anotherUser();
  await killed.kill("SIGKILL");
  await withClient(url, (client) => vi.waitUntil(async () => (await countSentinels(client)) === 1));

  await release();
  expect(isRunning()).toBe(false);
});

async function countSentinels(client: pg.Client): Promise<number> {
  const { rowCount } = await client.query(
    "select from pg_stat_activity where application_name = 'loregraph sentinel'",
  );
  return rowCount ?? 0;
}

test("stays for a client that came by itself, until that one has gone", async () => {
  const { url, release } = await useServer(home);
  await withClient(url, release);
  expect(isRunning()).toBe(true);

  await (await useServer(home)).release();
  expect(isRunning()).toBe(false);
});

test("outlives its users when asked to, until it is ended", async () => {
  const kept = await keepServer(home);
  expect(kept.log).toBe(inFolder("server.log"));
  const user = await anotherUser();
  expect(user.url).toBe(kept.url);
  await user.finish();
  expect(isRunning()).toBe(true);

  expect(await endServer(home)).toBe(true);
  expect(isRunning()).toBe(false);
  expect(await endServer(home)).toBe(false);
});

test("recovers from a killed postmaster, whose users leave in peace", async () => {
  const witness = await useServer(home);
  await withClient(witness.url, (client) => client.query("create table survivor as select 'word' as word"));
  process.kill(await postmasterPid(), "SIGKILL");

  const next = await useServer(home);
  expect(next.url).toBe(witness.url);
  const { rows } = await withClient(next.url, (client) => client.query("select word from survivor"));
  expect(rows).toEqual([{ word: "word" }]);
  await witness.release();
  expect(isRunning()).toBe(true);
  await next.release();
  expect(isRunning()).toBe(false);
});

test("ignores a pid file that a crash left, though its pid is another process by now", async () => {
  await (await useServer(home)).release();
  await writeFile(
    inFolder("data", "postmaster.pid"),
    `${process.pid}\n${inFolder("data")}\n1\n5432\n\n\n\nready\n`,
  );

  const { url, release } = await useServer(home);
  await withClient(url, (client) => client.query("select 1"));
  await release();
});

test("begins again after an initialisation that was killed", async () => {
  await deleteServer(home);
  const interrupted = startUser();
  await vi.waitUntil(async () => (await stagingFolders()).length > 0, { timeout: 10_000, interval: 5 });
  await interrupted.kill("SIGKILL");
  expect(existsSync(inFolder("data"))).toBe(false);

  const { url, release } = await useServer(home);
  await withClient(url, (client) => client.query("select 1"));
  await release();
  expect(await stagingFolders()).toEqual([]);
});

async function stagingFolders(): Promise<readonly string[]> {
  if (!existsSync(inFolder())) return [];
  return (await readdir(inFolder())).filter((name) => name.startsWith("initialising-"));
}

test("takes another port when its last one is taken", async () => {
  const { url, release } = await useServer(home);
  await release();
  const squatter = createServer().listen(Number(new URL(url).port), "127.0.0.1");

  const next = await useServer(home);
  expect(new URL(next.url).port).not.toBe(new URL(url).port);
  await next.release();
  squatter.close();
});

test("names its log, and shows the log's end, when it cannot start", async () => {
  await (await useServer(home)).release();
  await appendFile(inFolder("data", "postgresql.auto.conf"), "nonsense = 1\n");

  const starting = useServer(home);
  await expect(starting).rejects.toMatchObject({ code: "EMBEDDED_POSTGRES" });
  await expect(starting).rejects.toThrow(inFolder("server.log"));
  await expect(starting).rejects.toThrow('unrecognized configuration parameter "nonsense"');
  await deleteServer(home);
});

test("refuses the data of another major version", async () => {
  await deleteServer(home);
  await mkdir(inFolder("data"), { recursive: true });
  await writeFile(inFolder("data", "PG_VERSION"), "17\n");

  await expect(useServer(home)).rejects.toThrow(/expected .* to hold data of PostgreSQL 18, got: 17/);
});

import { randomUUID } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { fileInTest, run, type Said, startInTest } from "../support/cli.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { holdImport } from "../support/held.ts";

let database: TestDatabase;
let settings: Record<string, string>;

beforeAll(async () => {
  database = await testDatabase();
  settings = { DATABASE_URL: database.url };
});

const take = (path: string, tenant: string, ...options: string[]): Promise<Said> =>
  run(["import", path, "--tenant", tenant, ...options], settings);

async function entitiesOf(tenant: string): Promise<number> {
  const { rows } = await database.pool.query(
    "select count(*)::int as count from entities where tenant_id = $1",
    [tenant],
  );
  return rows[0].count;
}

const line = (id: string, given: object = {}) =>
  JSON.stringify({ type: "lore", id, title: "The Weir", text: "It rained.", ...given });

test("says in words what went in, and in one line of JSON what else there is to know", async () => {
  const [tenant, path] = [randomUUID(), await fileInTest("weir.jsonl", `${line(randomUUID())}\n`)];
  const first = await take(path, tenant);
  const again = await take(path, tenant, "--json");

  expect(first).toMatchObject({ code: 0 });
  expect(first.out).toBe(
    "weir.jsonl (utf-8): 1 lore\n1 created, 0 changed, 0 moved, 0 unchanged, 0 deleted\n",
  );
  expect(again).toMatchObject({ code: 0, out: expect.stringMatching(/^\{.*\}\n$/) });
  expect(JSON.parse(again.out)).toEqual({
    file: "weir.jsonl",
    encoding: "utf-8",
    notes: [],
    counts: { created: 0, changed: 0, moved: 0, unchanged: 1, deleted: 0 },
    types: { lore: 1 },
    rejected: [],
  });
});

test("takes in all lines but the broken 500th, names it, deletes nothing and ends with 3", async () => {
  const tenant = randomUUID();
  const ids = Array.from({ length: 600 }, () => randomUUID());
  const path = await fileInTest("weir.jsonl", ids.map((id) => line(id)).join("\n"));
  await take(path, tenant);
  const broken = ids.map((id) => line(id, { text: "It snowed." })).with(499, '{"type": "lore", "id": ');
  const said = await take(await sameName(path, broken.join("\n")), tenant);

  expect(said.code).toBe(3);
  expect(said.out).toContain("599 changed");
  expect(said.out).toContain("rejected: line 500: expected JSON, got: ");
  expect(said.out).toContain("nothing was deleted, because lines were rejected");
  expect(await entitiesOf(tenant)).toBe(600);
});

async function sameName(path: string, content: string): Promise<string> {
  return await fileInTest(path.slice(path.lastIndexOf("/") + 1), content);
}

test("names each line that it rejects, with the reason", async () => {
  const [tenant, id, long] = [randomUUID(), randomUUID(), "x".repeat(2_001)];
  const lines = [
    line(id),
    line(id.toUpperCase()),
    line("weir-1"),
    line(randomUUID(), { type: "charcter" }),
    line(randomUUID(), { text: long }),
    line(randomUUID(), { text: "a\ud800b\u0000c" }),
  ];
  const path = await fileInTest("weir.jsonl", lines.join("\r\n"));
  const said = await run(["import", path, "--tenant", tenant, "--json"], {
    ...settings,
    LOREGRAPH_MAX_TEXT_CHARS: "2000",
  });

  expect(said.code).toBe(3);
  expect(JSON.parse(said.out)).toMatchObject({
    counts: { created: 2 },
    rejected: [
      { line: 2, reason: "source_id: line 1 has the same id" },
      { line: 3, reason: 'source_id: expected a uuid, got: "weir-1"' },
      { line: 4, reason: "source_type: unknown type charcter, did you mean character?" },
      { line: 5, reason: "text: expected at most 2000 characters, got: 2001" },
    ],
    notes: [expect.stringMatching(/^line 6: .*NUL/), expect.stringMatching(/^line 6: .*surrogate/)],
  });
  const { rows } = await database.pool.query(
    "select text from entities where tenant_id = $1 and text <> 'It rained.'",
    [tenant],
  );
  expect(rows).toEqual([{ text: "a\ufffdbc" }]);
});

describe("refuses with 2, having stored nothing,", () => {
  const tenant = randomUUID();

  test("what is no text", async () => {
    await expectRefused(
      await take(await fileInTest("weir.txt", "%PDF-1.7 It rained."), tenant),
      /looks like a PDF/,
    );
  });

  test("a folder, or what is not there", async () => {
    const path = await fileInTest("weir.txt", "It rained.");
    const folder = join(dirname(path), "novels");
    await mkdir(folder);
    await expectRefused(await take(folder, tenant), /novels is a folder: name its files/);
    await expectRefused(await take(join(folder, "weir.txt"), tenant), /there is no file .*novels\/weir\.txt/);
  });

  test("no tenant, or one that is no uuid", async () => {
    const path = await fileInTest("weir.txt", "It rained.");
    await expectRefused(await run(["import", path], settings), /'--tenant <uuid>' not specified/);
    await expectRefused(await take(path, "me"), /expected --tenant to be a uuid, got: me/);
  });

  async function expectRefused(said: Said, reason: RegExp): Promise<void> {
    expect(await entitiesOf(tenant)).toBe(0);
    expect(said).toMatchObject({ code: 2, out: "", err: expect.stringMatching(reason) });
    expect(said.err).not.toMatch(/\n\s+at /);
  }
});

const refrain = `# The Weir\n\n## Chapter 1\n\n${Array.from({ length: 150 }, (_, at) => `It rained for the ${at}. time.`).join("\n\n* * *\n\n")}\n`;

test("killed in the middle is completed by importing again", async () => {
  const [tenant, path] = [randomUUID(), await fileInTest("weir.md", refrain)];
  const held = await holdImport(database, tenant);
  const killed = startInTest(["import", path, "--tenant", tenant], settings);
  await held.waiting(1);
  killed.kill("SIGKILL");
  await killed.ended;
  expect(await entitiesOf(tenant)).toBe(200);
  await held.release();

  const again = await take(path, tenant, "--json");
  expect(again.code).toBe(0);
  expect(JSON.parse(again.out).counts).toEqual({
    created: 102,
    changed: 0,
    moved: 0,
    unchanged: 200,
    deleted: 0,
  });
});

test("ends with 4, and without a password, where the database goes away in the middle", async () => {
  const [tenant, path] = [randomUUID(), await fileInTest("weir.md", refrain)];
  const held = await holdImport(database, tenant);
  const command = startInTest(["import", path, "--tenant", tenant], settings);
  await held.waiting(1);
  await held.terminate();
  const said = await command.ended;

  expect(said).toMatchObject({ code: 4, out: "", err: expect.stringContaining("DATABASE_UNAVAILABLE") });
  const { password } = new URL(database.url);
  if (password) expect(said.err).not.toContain(password);
});

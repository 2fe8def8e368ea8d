/** The command `try`: a graph run once, with nothing written anywhere. */
import { randomUUID } from "node:crypto";
import { readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { z } from "zod";
import { many, type Pool } from "../../src/db.ts";
import type { EntityKey } from "../../src/store/entities.ts";
import { completion, key, serverAnswering } from "../models/server.ts";
import { emptyFolder, fileInTest, run } from "../support/cli.ts";
import { storeScene } from "../support/content.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";

// Each is a process or several, on a machine that may be busy.
vi.setConfig({ testTimeout: 300_000 });

const quarrel = "“You lied to me,” Marta snapped. “Get out of my house!”";
const answer = { evidence: "Get out of my house", mood: "hostile", valence: -0.9, confidence: 0.9 };

/** A folder in which a command that began an embedded Postgres would leave its data. */
async function home() {
  const folder = await emptyFolder();
  onTestFinished(() => rm(folder, { recursive: true }));
  const left = async () => (await readdir(folder)).filter((name) => name !== "tape.jsonl");
  return { folder, left, settings: { LOREGRAPH_HOME: join(folder, "home") } };
}

const modelServer = () => serverAnswering(() => completion({ content: JSON.stringify(answer) }));
const served = (url: string) => ({ OPENAI_API_KEY: key, OPENAI_BASE_URL: `${url}/v1` });

describe("a text", () => {
  test("needs no database, starts none, and shows each node with what it changed and where it led", async () => {
    const { folder, left, settings } = await home();

    const { code, out, err } = await run(["try", "dialog-mood", quarrel], settings, folder);

    expect(err).toBe("no model is configured: dialog-mood reads by its local rules, wink-rules-1\n");
    expect(code).toBe(0);
    expect(out).toMatch(/^dialog-mood v1 by wink-rules-1, on the scene "“You lied/);
    expect(out).toMatch(/\n 1 listen {2}\d+ ms\n/);
    expect(out).toMatch(/\n {3}lines: 2\n/);
    expect(out).toMatch(/\n {3}→ readTalks, since reason is not set, /);
    expect(out).toMatch(/\n 3 readWhole {2}\d+ ms\n {3}mood: "hostile"\n/);
    expect(out).toContain('entity.enriched {"pipeline":"dialog-mood","outcome":"completed"}');
    expect(out).toContain("nothing was written");
    expect(await left()).toEqual([]);
  });

  test("comes from stdin, a file, a line of examples or JSON, and is of the type that is said", async () => {
    const { folder, settings } = await home();
    const mood = async (args: readonly string[], input?: string) => {
      const { code, out } = await run(["try", "dialog-mood", ...args, "--json"], settings, folder, input);
      expect(code).toBe(0);
      const { entity, answer } = JSON.parse(out);
      return `${entity.source_type} ${answer.mood}`;
    };
    const examples = [
      JSON.stringify({ name: "one", input: { text: "It rained." }, expected: { mood: null } }),
      JSON.stringify({ name: "two", input: { text: quarrel }, expected: { mood: "hostile" } }),
    ].join("\n");

    expect(await mood(["-"], quarrel)).toBe("scene hostile");
    expect(await mood([await fileInTest("scene.txt", quarrel), "--type", "beat"])).toBe("beat hostile");
    expect(
      await mood([await fileInTest("scene.json", JSON.stringify({ source_type: "beat", text: quarrel }))]),
    ).toBe("beat hostile");
    expect(await mood([await fileInTest("e.jsonl", examples)])).toBe("scene null");
    expect(await mood([await fileInTest("e.jsonl", examples), "--example", "two"])).toBe("scene hostile");
  });

  test.each([
    ["a file that is not there", ["dialog-mood", "./none.txt"], "there is no file ./none.txt"],
    ["no text", ["dialog-mood", " "], "expected a text or JSON, got: nothing"],
    ["an entity of no type", ["dialog-mood", '{"source_type":"poem","text":"x"}'], "the input is no entity"],
    ["a pipeline that is not there", ["dialog-mod", "x"], "did you mean dialog-mood?"],
    ["a version that is not loaded", ["dialog-mood", "x", "--version", "9"], "names (1), got: 9"],
    ["a model without a server", ["dialog-mood", "x", "--model", "gpt-5"], "there is no model server"],
    [
      "an answer that is no JSON",
      ["dialog-mood", "x", "--answer", "{"],
      "expected --answer to be JSON and not null",
    ],
  ])("is refused where there is %s", async (_, args, said) => {
    const { folder, left, settings } = await home();

    const got = await run(["try", ...args], settings, folder);

    expect(got).toMatchObject({ code: 2, out: "", err: expect.stringContaining(said) });
    expect(await left()).toEqual([]);
  });
});

describe("with a model", () => {
  test("--trace shows what was asked and answered, and what it took", async () => {
    const { folder, settings } = await home();
    const { url, requests } = await modelServer();

    const { out } = await run(
      ["try", "dialog-mood", quarrel, "--trace"],
      { ...settings, ...served(url) },
      folder,
    );

    expect(requests).toHaveLength(1);
    expect(out).toMatch(/ 2 readTalks {2}\d+ ms, 1 calls, 1000 tokens in, 100 out, \$0\.0\d+\n/);
    expect(out).toMatch(/call of gpt-4o-mini \(provider, \d+ ms, 1000 tokens in, 100 out\)\n/);
    expect(out).toMatch(/\n {5}system: /);
    expect(out).toContain("You lied to me");
    expect(out).toContain(`answer: ${JSON.stringify(answer)}`);
    expect(out).not.toContain(key);
  });

  test("what was recorded is replayed without key and server, and node for node the same", async () => {
    const { folder, settings } = await home();
    const { url, requests } = await modelServer();
    const args = ["try", "dialog-mood", quarrel, "--json"];
    const said = (out: string) =>
      JSON.parse(out).nodes.map(({ node, wrote }: Record<string, unknown>) => ({ node, wrote }));

    const recorded = await run([...args, "--record", "tape.jsonl"], { ...settings, ...served(url) }, folder);
    const replayed = await run([...args, "--replay", "tape.jsonl"], settings, folder);
    const other = await run(
      ["try", "dialog-mood", "“Hello,” he said.", "--replay", "tape.jsonl"],
      settings,
      folder,
    );

    expect(recorded.code).toBe(0);
    expect(said(replayed.out)).toEqual(said(recorded.out));
    expect(JSON.parse(replayed.out)).toMatchObject({ model: "gpt-4o-mini", cost_usd: 0 });
    expect(other).toMatchObject({
      code: 2,
      err: expect.stringMatching(/node "readTalks".*not on the tape tape.jsonl/),
    });
    expect(requests).toHaveLength(1);
    expect(await readFile(join(folder, "tape.jsonl"), "utf8")).not.toContain(key);
  });

  test("that refuses, the node is named", async () => {
    const { folder, settings } = await home();
    const { url } = await serverAnswering(() => completion({ refusal: "I would rather not" }));

    const said = await run(["try", "dialog-mood", quarrel], { ...settings, ...served(url) }, folder);

    expect(said).toMatchObject({
      code: 1,
      err: expect.stringMatching(/node "readTalks": the model/),
    });
  });
});

describe("an entity", () => {
  let database: TestDatabase;
  let scene: EntityKey;

  beforeAll(async () => {
    database = await testDatabase();
    scene = await storeScene(database.pool, randomUUID(), [quarrel], { title: "A quarrel" });
  });

  test("is read from the database, and nothing in any table is another afterwards", async () => {
    const before = await everything(database.pool);

    const { code, out } = await run(["try", "dialog-mood", scene.source_id, "--json"], {
      DATABASE_URL: database.url,
    });

    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ ending: "answered", entity: { title: "A quarrel" } });
    expect(await everything(database.pool)).toEqual(before);
    expect(Object.keys(before).length).toBeGreaterThan(15);
  });

  test("that is not there is refused", async () => {
    const said = await run(["try", "dialog-mood", randomUUID()], { DATABASE_URL: database.url });

    expect(said).toMatchObject({ code: 2, err: expect.stringContaining("there is no entity") });
  });
});

/** How many rows each table has, and a hash of all of them. */
async function everything(pool: Pool): Promise<Readonly<Record<string, string>>> {
  const tables = await many(
    pool,
    z.object({ name: z.string() }),
    "select tablename as name from pg_tables where schemaname = 'loregraph' order by tablename",
  );
  const hashes: Record<string, string> = {};
  for (const { name } of tables) {
    const [row] = await many(
      pool,
      z.object({ hash: z.string() }),
      `select count(*) || ' ' || coalesce(md5(string_agg(row::text, ' ' order by row::text)), '') as hash from ${name} row`,
    );
    hashes[name] = row?.hash ?? "";
  }
  return hashes;
}

import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { type OwnProject, ownProject } from "../support/package.ts";

// Each step builds on the one before, as somebody's first hour with the package does.

let project: OwnProject;
let database: TestDatabase;
const tenant = randomUUID();

beforeAll(async () => {
  database = await testDatabase();
  const manifest = { name: "my-lore", private: true, dependencies: { loregraph: "0.1.0" } };
  project = await ownProject(manifest, ["vitest", "typescript", "@types/node"]);
}, 600_000);
afterAll(() => rm(dirname(project.root), { recursive: true }));

const lore = (...args: string[]) => project.npx(["loregraph", ...args], { DATABASE_URL: database.url });

test("the package holds what it needs, and neither sources nor tests of the runtime", () => {
  expect(project.packed).toEqual(
    expect.arrayContaining([
      "bin/loregraph.js",
      "dist/src/index.js",
      "dist/src/index.d.ts",
      "dist/src/testing.js",
      "dist/langgraph.json",
      "dist/graphs/base/pipeline.js",
      "migrations/0001_entities_and_events.sql",
      "src/new/template/graph.test.ts",
    ]),
  );
  const strays = project.packed.filter(
    (path) => /^(src|test|graphs|checkpoints|bench)\//.test(path) && !path.startsWith("src/new/template/"),
  );
  expect(strays).toEqual([]);
});

test("a new graph passes its own test and its types, without a file of this repository", async () => {
  const said = JSON.parse(await lore("new", "one-sentence", "--json"));

  expect(said).toMatchObject({ folder: join(project.root, "graphs/one-sentence") });
  expect(said.install).toBeUndefined();
  expect(said.did).toHaveLength(3);
  expect(await project.npx(["vitest", "run"])).toMatch(/Tests\s+5 passed/);
  await project.npx(["tsc"]);
}, 600_000);

test("types refuse a graph whose output is not what it promises", async () => {
  const file = join(project.root, "graphs/one-sentence/pipeline.ts");
  const sound = readFileSync(file, "utf8");
  await writeFile(file, sound.replace("output: Answer,", "output: z.object({ mood: z.string() }),"));

  await expect(project.npx(["tsc"])).rejects.toThrow(/pipeline\.ts.*error TS2322/);
  await writeFile(file, sound);
}, 300_000);

test("takes a text in, and stores what the new graph learnt of it", async () => {
  const text =
    "Chapter I\n\nThe river rose. Ines opened the gate before the river took the gate. Nobody slept.\n";
  await writeFile(join(project.root, "river.txt"), text);
  await lore("import", "river.txt", "--tenant", tenant);
  await lore("worker", "--until-idle");

  const stored = await database.pool.query("select pipeline, output, model, outcome from enrichments");
  expect(stored.rows).toContainEqual({
    pipeline: "one-sentence",
    outcome: "completed",
    model: "rules-1",
    output: expect.objectContaining({ quote: "Ines opened the gate before the river took the gate" }),
  });
}, 300_000);

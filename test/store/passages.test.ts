import { randomUUID } from "node:crypto";
import { beforeAll, describe, expect, test } from "vitest";
import type { SourceType } from "../../src/pipeline.ts";
import { findPassages } from "../../src/store/passages.ts";
import { storeScene } from "../support/content.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});

async function isFound(text: string, name: string, language: string | null = "en"): Promise<boolean> {
  const tenant_id = randomUUID();
  await storeScene(database.pool, tenant_id, ["Nothing here.", text], { language, title: "" });
  const passages = await findPassages(database.pool, tenant_id, [name]);
  expect(passages.every((passage) => passage.text === text)).toBe(true);
  return passages.length === 1;
}

describe("a name stands as whole words", () => {
  test.each([
    ["Rose", "Then Rose came."],
    ["Rose", "Rose"],
    ["Rose", "That is Rose’s boat."],
    ["Rose", "That is Rose's boat."],
    ["Rose", "“Rose!”"],
    ["Rose", "Mara/Rose"],
    ["Rose", "He left.Rose stayed."],
    ["Rose", "Rose-Marie came."],
    ["Mara Lind", "There stood Mara Lind."],
    ["O’Brien", "Old O’Brien’s gone."],
    ["Émile", "Puis Émile sourit."],
    ["Will", "Then Will laughed."],
    ["The Who", "It was The Who."],
    ["R2-D2", "See, R2-D2 beeps."],
    ["J. R.", "Ask J. R. about it."],
    ["C++ (the cat)", "Feed C++ (the cat) now."],
  ])("%s in: %s", async (name, text) => {
    expect(await isFound(text, name)).toBe(true);
  });

  test.each([
    ["Rose", "Two Roses in a vase."],
    ["Rose", "A Primrose bloomed."],
    ["Rose", "The sun rose."],
    ["Rose", "Roseé wine."],
    ["Mara Lind", "Lind and Mara."],
    ["Mara Lind", "Mara Lindgren came."],
    ["Émil", "Puis Émile sourit."],
    ["mil", "Puis Émile sourit."],
    ["Will", "Willing or not."],
    ["R.se", "Then Rose came."],
  ])("but %s not in: %s", async (name, text) => {
    expect(await isFound(text, name)).toBe(false);
  });

  test.each([
    ["玛拉", "“你来了，”玛拉说。"],
    ["花子", "花子は歩いた。"],
    ["Mara", "她对Mara说话。"],
  ])("%s where words have no spaces: %s", async (name, text) => {
    expect(await isFound(text, name, "zh")).toBe(true);
  });
});

test("finds any of several names, each passage once", async () => {
  const tenant_id = randomUUID();
  await storeScene(database.pool, tenant_id, ["Mara and Tom.", "Tom alone.", "Nobody."]);

  const passages = await findPassages(database.pool, tenant_id, ["Mara", "Tom", "", " Tom "]);
  expect(passages.map(({ text }) => text)).toEqual(["Mara and Tom.", "Tom alone."]);
  expect(await findPassages(database.pool, tenant_id, [])).toEqual([]);
});

test("finds nothing of another tenant", async () => {
  await storeScene(database.pool, randomUUID(), ["Mara."]);

  expect(await findPassages(database.pool, randomUUID(), ["Mara"])).toEqual([]);
});

test("fills its limit with whole words, evenly from the first to the last, whatever stands between them", async () => {
  const tenant_id = randomUUID();
  const texts = Array.from({ length: 40 }, (_, n) => (n % 4 === 3 ? `Rose, ${n}.` : `Roses, ${n}, Rosehip.`));
  await storeScene(database.pool, tenant_id, texts);

  const passages = await findPassages(database.pool, tenant_id, ["Rose"], 7);
  expect(passages.map(({ text }) => text)).toEqual([3, 11, 15, 23, 27, 35, 39].map((n) => `Rose, ${n}.`));
});

test("comes in reading order: by the order of the entities, parents before children, chunk by chunk", async () => {
  const tenant_id = randomUUID();
  const stored = new Map<string, string>();
  const store = async (
    title: string,
    source_type: SourceType,
    parent: string | undefined,
    order: unknown,
  ) => {
    const metadata = { order, ...(parent && { parent_id: stored.get(parent) }) };
    const { source_id } = await storeScene(
      database.pool,
      tenant_id,
      [`Mara, ${title}.`, `Mara, ${title} again.`],
      {
        title,
        source_type,
        metadata,
      },
    );
    stored.set(title, source_id);
  };
  await store("story", "story", undefined, 1);
  await store("chapter 10", "chapter", "story", 10);
  await store("chapter 2", "chapter", "story", 2);
  await store("scene 2.2", "scene", "chapter 2", 2);
  await store("scene 10.1", "scene", "chapter 10", 1);
  await store("scene 2.1", "scene", "chapter 2", 1);
  await store("scene 2.?", "scene", "chapter 2", "last");

  const passages = await findPassages(database.pool, tenant_id, ["Mara"]);
  const order = ["story", "chapter 2", "scene 2.1", "scene 2.2", "scene 2.?", "chapter 10", "scene 10.1"];
  expect(passages.map(({ text }) => text)).toEqual(
    order.flatMap((title) => [`Mara, ${title}.`, `Mara, ${title} again.`]),
  );
});

test("a circle of parents is no trap", async () => {
  const tenant_id = randomUUID();
  const [one, other] = [randomUUID(), randomUUID()];
  await storeScene(database.pool, tenant_id, ["Mara."], { source_id: one, metadata: { parent_id: other } });
  await storeScene(database.pool, tenant_id, ["Mara."], { source_id: other, metadata: { parent_id: one } });

  expect(await findPassages(database.pool, tenant_id, ["Mara"])).toHaveLength(2);
});

import { randomUUID } from "node:crypto";
import { beforeAll, describe, expect, test } from "vitest";
import { searchChunks } from "../../src/store/search.ts";
import { storeScene } from "../support/content.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});

test("a heading weighs more than the text", async () => {
  const tenant_id = randomUUID();
  const inText = await storeScene(database.pool, tenant_id, ["The lantern hung low."], { title: "The pier" });
  const inHeading = await storeScene(database.pool, tenant_id, ["It hung low."], { title: "The lantern" });

  const hits = await searchChunks(database.pool, tenant_id, "lantern");
  expect(hits.map(({ source_id }) => source_id)).toEqual([inHeading.source_id, inText.source_id]);
});

test("finds nothing of another tenant", async () => {
  await storeScene(database.pool, randomUUID(), ["The lantern hung low."]);

  expect(await searchChunks(database.pool, randomUUID(), "lantern")).toEqual([]);
});

test.each([
  ["en", "The sailors were running.", "sailor run"],
  ["de", "Die alten Häuser brannten.", "Haus"],
  ["fr", "Les marins chantaient au loin.", "marin chanter"],
  ["zh", "她去了码头，看着大海。", "码头"],
  ["ja", "彼女は灯台へ歩いた。", "灯台"],
  ["ru", "Москва. Её Улицы пусты.", "москва улица"],
  [null, "Zwykłe słowa bez odmiany.", "słowa"],
])("finds words of a text in %s as its language bends them", async (language, text, words) => {
  const tenant_id = randomUUID();
  const { source_id } = await storeScene(database.pool, tenant_id, [text], { language });

  expect(await searchChunks(database.pool, tenant_id, words)).toMatchObject([{ source_id }]);
});

test("searches each text by its own language in one query", async () => {
  const tenant_id = randomUUID();
  await storeScene(database.pool, tenant_id, ["The house burned."], { language: "en" });
  await storeScene(database.pool, tenant_id, ["Das Haus brannte."], { language: "de" });

  expect(await searchChunks(database.pool, tenant_id, "haus or house")).toHaveLength(2);
});

test.each([
  "Rose’s",
  "“Rose”",
  "—Rose—",
  "Rose…",
  "came.Rose",
  "Mara/Rose",
  "Anna@Rose",
  "Rose-Marie",
  "<Rose>",
])("finds a word in %s", async (text) => {
  const tenant_id = randomUUID();
  await storeScene(database.pool, tenant_id, [`We met ${text} there.`]);

  expect(await searchChunks(database.pool, tenant_id, "rose")).toHaveLength(1);
});

test("understands phrases, exclusions and alternatives, and survives anything else", async () => {
  const tenant_id = randomUUID();
  await storeScene(database.pool, tenant_id, ["The red lantern hung low."]);
  const found = async (words: string) => (await searchChunks(database.pool, tenant_id, words)).length;

  expect(await found('"red lantern"')).toBe(1);
  expect(await found('"lantern red"')).toBe(0);
  expect(await found("lantern -red")).toBe(0);
  expect(await found("boat or lantern")).toBe(1);
  for (const odd of ["", "   ", "the", "'\"& | ! ( :*", "\\", "a\0b", "-", '"'])
    expect(await found(odd)).toBe(0);
});

test("gives the best first, and no more than asked", async () => {
  const tenant_id = randomUUID();
  await storeScene(database.pool, tenant_id, ["A lantern.", "A lantern, a lantern, a lantern.", "No light."]);
  const [first, second, ...rest] = await searchChunks(database.pool, tenant_id, "lantern");

  expect(rest).toEqual([]);
  expect(first?.rank).toBeGreaterThan(second?.rank ?? 0);
  expect(await searchChunks(database.pool, tenant_id, "lantern", 1)).toHaveLength(1);
});

test("finds capitals in small letters and the other way round, in any script", async () => {
  const tenant_id = randomUUID();
  await storeScene(database.pool, tenant_id, ["Émile et ÖZLEM."], { language: null });

  for (const words of ["émile", "ÉMILE", "özlem"]) {
    expect(await searchChunks(database.pool, tenant_id, words)).toHaveLength(1);
  }
});

describe("an excerpt", () => {
  async function excerpt(text: string, words: string, language: string | null): Promise<string> {
    const tenant_id = randomUUID();
    await storeScene(database.pool, tenant_id, [text], { language });
    const [hit] = await searchChunks(database.pool, tenant_id, words);
    return hit?.excerpt ?? "";
  }

  test("marks the words where they stand, in the letters of the text", async () => {
    const filler = "Nobody spoke for a long while. ".repeat(20);
    const found = await excerpt(`${filler}Then Rose’s boat came/went home. ${filler}`, "rose boat", "en");

    expect(found).toContain("Then «Rose»’s «boat» came/went home.");
    expect(found.length).toBeLessThan(300);
  });

  test("of a text without spaces is a part of it, and marked", async () => {
    const filler = "她没有说话，只是看着远方。".repeat(20);
    const found = await excerpt(`${filler}他们一起去了码头。${filler}`, "码头", "zh");

    expect(found).toContain("«码头»");
    expect(found).not.toContain(" ");
    expect(found.length).toBeLessThan(210);
  });
});

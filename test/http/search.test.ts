import { beforeAll, expect, test } from "vitest";
import { storeScene } from "../support/content.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { openTestApp, type TestApp } from "../support/http.ts";
import { runtime } from "../support/runtime.ts";

let database: TestDatabase;
let api: TestApp;
beforeAll(async () => {
  database = await testDatabase();
  api = await openTestApp(runtime(database));
  await storeScene(database.pool, api.tenant, ["The lighthouse burned.", "Mara ran to the lighthouses."]);
  await storeScene(database.pool, api.tenant, ["Nobody came."]);
  await storeScene(database.pool, api.foreign, ["Their lighthouse is secret."]);
});

async function search(q: string, more = "") {
  const url = `/tenants/${api.tenant}/search?q=${encodeURIComponent(q)}${more}`;
  return await api.ask({ url }, api.keys.read);
}

async function excerpts(q: string, more = ""): Promise<readonly string[]> {
  return (await search(q, more)).json().items.map(({ excerpt }: { excerpt: string }) => excerpt);
}

test("finds words in whatever form, in this tenant alone", async () => {
  const { items } = (await search("lighthouse")).json();
  expect(items).toHaveLength(2);
  expect(items[0]).toEqual({
    source_type: "scene",
    source_id: expect.any(String),
    title: "The pier",
    path: "The pier",
    excerpt: expect.stringContaining("«lighthouse"),
    start: 0,
    end: expect.any(Number),
    rank: expect.any(Number),
  });
  expect(await excerpts("secret")).toEqual([]);
});

test("finds phrases, either of two, and what has not a word", async () => {
  expect(await excerpts('"lighthouse burned"')).toHaveLength(1);
  expect(await excerpts("burned or nobody")).toHaveLength(2);
  expect(await excerpts("lighthouse -burned")).toHaveLength(1);
});

test("answers no more than asked for", async () => {
  expect(await excerpts("lighthouse", "&limit=1")).toHaveLength(1);
});

test.each([
  "",
  "   ",
  "the",
  "to the",
  "\n\t",
  "!!!",
  "'",
  '"',
  '"""',
  "-",
  "or",
  "- or -",
  "& | ! <-> :*",
  "%",
  "\\",
  "()",
])("finds nothing where there is nothing to look for: %j", async (q) => {
  const answer = await search(q);
  expect([answer.statusCode, answer.json()]).toEqual([200, { items: [] }]);
});

test.each([
  "'; drop table chunks; --",
  "lighthouse' or '1'='1",
  "$1",
  "\u202e\u200b\ufeff",
  "漢字",
  "😀",
  "x".repeat(1_000),
])("takes %j for words", async (q) => {
  expect((await search(q)).statusCode).toBe(200);
  expect(await excerpts("lighthouse")).toHaveLength(2);
});

test.each([
  "q=%00",
  "q=a%00b",
  `q=${"x".repeat(1_001)}`,
  "",
  "q=a&q=b",
  "q=a&limit=0",
  "q=a&limit=51",
  "q=a&limit=x",
  "q=a&limit=1e3",
  "q=a&other=1",
])("refuses ?%s", async (query) => {
  const refused = await api.ask({ url: `/tenants/${api.tenant}/search?${query}` }, api.keys.read);
  expect(refused.json()).toMatchObject({ status: 400, code: "INPUT_INVALID" });
});

test("shows a tenant to nobody else's key", async () => {
  const url = `/tenants/${api.tenant}/search?q=lighthouse`;
  expect((await api.ask({ url }, api.keys.foreignRead)).statusCode).toBe(403);
  expect((await api.app.inject({ url })).statusCode).toBe(401);
});

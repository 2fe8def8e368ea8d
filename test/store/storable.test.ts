import fc from "fast-check";
import { beforeAll, expect, test } from "vitest";
import { storableJson } from "../../src/store/storable.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});

test("takes out NUL and lone surrogates, of values and of keys, however deep", () => {
  expect(storableJson({ "a\0": ["x\0y", { "\ud800": "\udfff!" }], n: 1, none: null })).toEqual({
    a: ["xy", { "\ufffd": "\ufffd!" }],
    n: 1,
    none: null,
  });
});

test("leaves what Postgres can store as it is", () => {
  const value = { text: '“Öl” 玛拉 🌊 \\u0000 \\ " \n', list: [1.5, true, null, {}] };

  expect(storableJson(value)).toEqual(value);
});

test("Postgres stores whatever comes out of it, and gives the same back", async () => {
  const anything = fc.jsonValue({ stringUnit: "binary", noUnicodeString: false } as fc.JsonSharedConstraints);
  await fc.assert(
    fc.asyncProperty(anything, async (value) => {
      const storable = storableJson({ value });
      const { rows } = await database.pool.query("select $1::jsonb as stored", [JSON.stringify(storable)]);
      expect(JSON.stringify(rows[0].stored)).toBe(
        JSON.stringify(
          (await database.pool.query("select $1::jsonb as stored", [JSON.stringify(rows[0].stored)])).rows[0]
            .stored,
        ),
      );
    }),
    { numRuns: 100 },
  );
});

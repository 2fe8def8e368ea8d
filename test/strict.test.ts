import { FakeListChatModel } from "@langchain/core/utils/testing";
import { expect, test } from "vitest";
import { z } from "zod";
import { asker } from "../src/ask.ts";
import { assertStrict } from "../src/strict.ts";

const said = z.object({ quote: z.string() });

test.each<[string, z.ZodObject]>([
  [
    "plain fields",
    z.object({ mood: z.enum(["calm", "tense"]).nullable(), confidence: z.number().min(0).max(1) }),
  ],
  ["lists of objects", z.object({ said: z.array(said).max(5), also: z.array(z.string()) })],
  ["one of several objects", z.object({ found: z.union([said, z.object({ none: z.literal(true) })]) })],
  ["a shape used twice", z.object({ one: said, other: said })],
  ["a default", z.object({ mood: z.string().default("calm") })],
])("takes %s", (_, schema) => {
  expect(() => assertStrict(schema, "reading")).not.toThrow();
});

test.each<[string, z.ZodObject, string]>([
  [
    "an optional field",
    z.object({ said: z.array(z.object({ by: z.string().optional() })) }),
    "said[].by: write `.nullable()`",
  ],
  ["a record", z.object({ scores: z.record(z.string(), z.number()) }), "scores: write an array of objects"],
  ["an open object", z.object({ more: z.looseObject({}) }), "more: expected its fields to be named"],
  ["a tuple", z.object({ span: z.tuple([z.int(), z.int()]) }), "span: write an object for `z.tuple`"],
  ["anything", z.object({ extra: z.unknown() }), "extra: expected a type, got: anything"],
  ["a date", z.object({ at: z.date() }), "at: no JSON is a date"],
  [
    "a discriminated union",
    z.object({
      found: z.discriminatedUnion("kind", [
        z.object({ kind: z.literal("a") }),
        z.object({ kind: z.literal("b") }),
      ]),
    }),
    "found: write `z.union`",
  ],
  [
    "too many values",
    z.object({ word: z.enum(Array.from({ length: 1_001 }, (_, nth) => `w${nth}`)) }),
    "word: expected at most 1000 values, got: 1001",
  ],
  ["too many levels", nested(11), "expected at most 10 levels"],
])("names where %s stands, and what to write instead", (_, schema, what) => {
  expect(() => assertStrict(schema, "reading")).toThrow(
    expect.objectContaining({ code: "PIPELINE_INVALID", message: expect.stringContaining(what) }),
  );
});

test("names all that is wrong at once", () => {
  const schema = z.object({ a: z.string().optional(), b: z.unknown() });

  expect(() => assertStrict(schema, "reading")).toThrow(/a: write[\s\S]*b: expected a type/);
});

test("a graph hears of it before it asks anything", () => {
  const model = new FakeListChatModel({ responses: [] });

  expect(() => asker(model, z.object({ a: z.string().optional() }), { name: "reading" })).toThrow(
    /the shape of reading cannot be asked/,
  );
});

function nested(levels: number): z.ZodObject {
  return levels === 0 ? said : z.object({ below: nested(levels - 1) });
}

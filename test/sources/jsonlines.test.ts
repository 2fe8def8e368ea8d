import { describe, expect, test } from "vitest";
import { jsonLineDrafts } from "../../src/sources/jsonlines.ts";

const id = (digit: number) => `0b8a1f3e-4c2d-4e5f-8a9b-00000000000${digit}`;
const read = (lines: readonly unknown[], maxTextChars = 1_000) =>
  jsonLineDrafts(
    lines.map((line) => (typeof line === "string" ? line : JSON.stringify(line))),
    { maxTextChars },
  );
const reasonOf = async (line: unknown, maxTextChars?: number) =>
  (await read([line], maxTextChars)).rejected[0]?.reason;

describe("a line", () => {
  test("is an entity under its full names", async () => {
    const draft = {
      source_type: "lore",
      source_id: id(1),
      title: "The Quay",
      text: "Old.",
      metadata: { age: 3 },
    };
    expect(await read([draft])).toEqual({ drafts: [draft], rejected: [], notes: [] });
  });

  test("may use short names and leave out what it does not know", async () => {
    const { drafts } = await read([{ type: "location", id: id(1), name: "The Quay" }]);
    expect(drafts).toEqual([
      { source_type: "location", source_id: id(1), title: "The Quay", text: "", metadata: {} },
    ]);
  });

  test("keeps its other fields in metadata, below those that metadata names itself", async () => {
    const line = {
      type: "character",
      id: id(1),
      title: "Captain",
      name: "Ada",
      age: 34,
      metadata: { age: 35 },
    };
    expect((await read([line])).drafts[0]).toMatchObject({
      title: "Captain",
      metadata: { name: "Ada", age: 35 },
    });
  });

  test("does not choose its tenant or version", async () => {
    const line = { type: "lore", id: id(1), tenant_id: id(2), version: 9 };
    expect((await read([line])).drafts[0]?.metadata).toEqual({});
  });

  test("is repaired where Postgres could not store it, and says so", async () => {
    const line = { type: "lore", id: id(1), text: "a\0b", metadata: { deep: [{ "k\0": "\ud800" }] } };
    expect(await read([line])).toMatchObject({
      drafts: [{ text: "ab", metadata: { deep: [{ k: "\ufffd" }] } }],
      notes: [
        { line: 1, reason: expect.stringContaining("NUL") },
        { line: 1, reason: expect.stringContaining("NUL") },
        { line: 1, reason: expect.stringContaining("surrogate") },
      ],
    });
  });
});

describe("a broken line", () => {
  test.each([
    ["{", /^expected JSON, got: /],
    ["[1]", /^expected an object/],
    ["null", /^expected an object/],
    [{ type: "lore" }, /^source_id: expected a uuid, got: nothing$/],
    [{ type: "lore", id: "quay-1" }, /^source_id: expected a uuid, got: "quay-1"$/],
    [{ id: id(1) }, /^source_type: expected a source type, got: nothing$/],
    [{ type: "charcter", id: id(1) }, /^source_type: unknown type charcter, did you mean character\?$/],
    [{ type: "spaceship", id: id(1) }, /^source_type: expected one of story, .*, got: spaceship$/],
    [{ type: "lore", id: id(1), text: 7 }, /^text: expected a text, got: 7$/],
    [{ type: "lore", id: id(1), metadata: [] }, /^metadata: expected an object, got: \[\]$/],
  ])("such as %j is rejected with the reason", async (line, reason) => {
    expect(await reasonOf(line)).toMatch(reason);
  });

  test("is one whose text is too long", async () => {
    expect(await reasonOf({ type: "lore", id: id(1), text: "abcd" }, 3)).toBe(
      "text: expected at most 3 characters, got: 4",
    );
  });

  test("is one that repeats an id, whatever its letters' case", async () => {
    const { drafts, rejected } = await read([
      { type: "lore", id: id(1) },
      { type: "event", id: id(1).toUpperCase() },
    ]);
    expect(drafts).toHaveLength(1);
    expect(rejected).toEqual([{ line: 2, reason: "source_id: line 1 has the same id" }]);
  });

  test("leaves the others in, and lines are counted with the blank ones", async () => {
    const { drafts, rejected } = await read([
      { type: "lore", id: id(1) },
      "",
      "{",
      { type: "lore", id: id(2) },
    ]);
    expect(drafts.map(({ source_id }) => source_id)).toEqual([id(1), id(2)]);
    expect(rejected).toMatchObject([{ line: 3 }]);
  });
});

test("reads lines as they arrive, with CR and a byte order mark", async () => {
  async function* lines() {
    yield `\ufeff${JSON.stringify({ type: "lore", id: id(1) })}\r`;
    yield "\r";
  }
  expect((await jsonLineDrafts(lines(), { maxTextChars: 10 })).drafts).toHaveLength(1);
});

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { loregraphError } from "../../src/errors.ts";
import { dataHash, readExamples } from "../../src/eval/examples.ts";
import { bookText } from "../../src/eval/passages.ts";
import { sha256 } from "../../src/hash.ts";
import { emptyFolder, fileInTest } from "../support/cli.ts";
import { echo } from "../support/pipelines.ts";

const pipeline = echo(() => ({ said: "" }), { trigger: { on: "entity.ingested", types: ["beat"] } });

/** Examples of a file with these lines. */
async function examplesOf(lines: readonly unknown[], texts?: string) {
  const written = lines.map((line) => (typeof line === "string" ? line : JSON.stringify(line))).join("\n");
  return await readExamples(await fileInTest("examples.jsonl", written), { pipeline, texts });
}

const refusal = (running: Promise<unknown>) =>
  running.then(
    () => "none",
    (error: unknown) => `${loregraphError(error)?.code}: ${loregraphError(error)?.message}`,
  );

const said = { said: "yes" };
const named = (name: string) => ({ name, expected: said });

test("fills in what an input leaves out of an entity", async () => {
  const { examples } = await examplesOf([{ input: { text: "Ho!" }, expected: said }, named("other")]);

  expect(examples).toMatchObject([
    { name: "line 1", input: { source_type: "beat", version: 1, text: "Ho!", title: "" }, expected: said },
    { name: "other", passages: [] },
  ]);
  expect(examples[0]?.input.source_id).not.toBe(examples[1]?.input.source_id);
});

test("rejects broken lines by number and reason, and reads the others", async () => {
  const { examples, rejected } = await examplesOf([
    named("one"),
    "{ no json",
    "",
    named("one"),
    { name: "nothing expected" },
    { name: "another field", expected: { sayd: 1 } },
    { name: "no entity", input: { version: "one" }, expected: said },
    { name: "two texts", input: { text: "Ho" }, passage: place(0, 1, ""), expected: said },
    "[]",
    named("two"),
  ]);

  expect(examples.map(({ name }) => name)).toEqual(["one", "two"]);
  expect(rejected).toEqual([
    { line: 2, reason: expect.stringMatching(/^expected JSON, got: /) },
    { line: 4, reason: "name: line 1 has the same, one" },
    { line: 5, reason: expect.stringMatching(/^expected: .*record/) },
    { line: 6, reason: "expected.sayd: expected a field of the answer (said, events)" },
    { line: 7, reason: expect.stringMatching(/^input.version: .*number/) },
    { line: 8, reason: "expected input.text or passage, got both" },
    { line: 9, reason: expect.stringMatching(/^the line: .*object/) },
  ]);
});

test.each([
  [
    "that is not there",
    async () => join(await emptyFolder(), "none.jsonl"),
    /^FILE_UNREADABLE: .*none.jsonl/,
  ],
  ["that is empty", () => fileInTest("e.jsonl", "\n \n"), /^INPUT_INVALID: .*holds no example: it is empty/],
  [
    "of broken lines",
    () => fileInTest("e.jsonl", "{"),
    /^INPUT_INVALID: .*line 1 is rejected: expected JSON/,
  ],
])("refuses a file %s", async (_, file, said) => {
  expect(await refusal(readExamples(await file(), { pipeline }))).toMatch(said);
});

test("knows the same examples whatever their layout", async () => {
  const one = await examplesOf([named("one"), named("two")]);
  const spaced = await examplesOf([
    JSON.stringify(named("one"), null, 1).replaceAll("\n", " "),
    "",
    named("two"),
  ]);
  const other = await examplesOf([named("one")]);

  expect(dataHash(one.examples)).toBe(dataHash(spaced.examples));
  expect(dataHash(one.examples)).not.toBe(dataHash(other.examples));
});

/** A file as Project Gutenberg writes them, with CR LF and a byte order mark. */
const file = `\ufeffTitle: The Weir\r
*** START OF THE PROJECT GUTENBERG EBOOK THE WEIR ***\r
\r
“Ho!” she said.\r
\r
*** END OF THE PROJECT GUTENBERG EBOOK THE WEIR ***\r
licence`;
const book = bookText(Buffer.from(file));
const start = book.indexOf("“");
const spoken = "“Ho!” she said.";

function place(from: number, to: number, text: string, name = "weir.txt") {
  return { work: "The Weir", edition: "Gutenberg 1", file: name, start: from, end: to, sha256: sha256(text) };
}

async function shelf(): Promise<string> {
  const folder = await emptyFolder();
  await writeFile(join(folder, "weir.txt"), file);
  return folder;
}

describe("passages by place", () => {
  const found = place(start, start + spoken.length, spoken);

  test("stand in the book without its header and licence", async () => {
    expect(book.trim()).toBe(spoken);

    const { examples } = await examplesOf(
      [{ passage: found, passages: [found, "as given"], expected: said }],
      await shelf(),
    );

    expect(examples).toMatchObject([{ input: { text: spoken }, passages: [spoken, "as given"] }]);
  });

  test.each([
    [
      "of another edition",
      place(start, start + 4, "“Hi!"),
      /^weir.txt \(The Weir, Gutenberg 1\) has another text from \d+ to \d+: expected its SHA-256 to be [0-9a-f]{64}, got: [0-9a-f]{64}. Is it another edition\?$/,
    ],
    [
      "beyond the end",
      place(start, 9_000, ""),
      /^weir.txt .* before the passage's end at 9000: is it another edition\?$/,
    ],
    [
      "of a book that is not there",
      place(0, 4, "", "none.txt"),
      /^none.txt \(The Weir, Gutenberg 1\) cannot be read: ENOENT/,
    ],
    ["outside of the folder", place(0, 4, "", "../weir.txt"), /is outside of the folder of texts$/],
    [
      "outside of the folder, from the root",
      place(0, 4, "", "/etc/hostname"),
      /is outside of the folder of texts$/,
    ],
    ["of no length", place(4, 4, ""), /^passage: expected start to be before end$/],
  ])("%s are rejected, naming the work", async (_, passage, reason) => {
    const { rejected } = await examplesOf([{ passage, expected: said }, named("one")], await shelf());

    expect(rejected).toEqual([{ line: 1, reason: expect.stringMatching(reason) }]);
  });

  test("are rejected without a folder of books", async () => {
    const { rejected } = await examplesOf([{ passage: found, expected: said }, named("one")]);

    expect(rejected).toEqual([
      { line: 1, reason: expect.stringMatching(/name the folder that holds its file by --texts$/) },
    ]);
  });
});

import { describe, expect, test } from "vitest";
import { type Inspection, inspectedText, inspectFile } from "../src/inspect.ts";

const text = `# The Weir

## Chapter 1

The keeper walked the wall. “Is it you again?” said Mara, and put down the oar.

“It is,” said Tom. “I brought the lamp.”

## Chapter 2

It rained all night. “Shut the gate!” called Mara — café, naïve, “déjà”.
`;
const windows = text.replaceAll("\n", "\r\n");
const spoken = ["“Is it you again?”", "“It is,”", "“I brought the lamp.”", "“Shut the gate!”"];

/** Each file with its text as another program reads it, which counts a byte order mark. */
const files: readonly (readonly [string, Buffer, string])[] = [
  ["plain UTF-8", Buffer.from(text), text],
  ["Windows lines", Buffer.from(windows), windows],
  ["UTF-8 with a byte order mark", Buffer.from(`\ufeff${text}`), `\ufeff${text}`],
  ["UTF-16", Buffer.from(`\ufeff${windows}`, "utf16le"), `\ufeff${windows}`],
  ["UTF-16 of big ends", Buffer.from(`\ufeff${text}`, "utf16le").swap16(), `\ufeff${text}`],
];

describe.each(files)("offsets into %s", (_, bytes, read) => {
  const inspection = inspectFile("weir.md", bytes);
  const cut = ({ start, end }: { start: number; end: number }) => read.slice(start, end);

  test("cut out the spoken lines, with their quotation marks", () => {
    expect(inspection.dialogue.map(cut)).toEqual(expect.arrayContaining(spoken));
    for (const line of inspection.dialogue.map(cut)) expect(line).toMatch(/^“.*”$/);
  });

  test("cut out the chapters from their headings, and chunks that hold every line of them", () => {
    expect(inspection.chapters.map(cut)).toEqual([
      expect.stringMatching(/^## Chapter 1\r?\n[\s\S]*the lamp\.”$/),
      expect.stringMatching(/^## Chapter 2\r?\n[\s\S]*“déjà”\.$/),
    ]);
    const chunks = inspection.chunks.map(cut).join("\n");
    for (const line of spoken) expect(chunks).toContain(line);
    for (const chunk of inspection.chunks.map(cut)) expect(chunk).toBe(chunk.trim());
  });

  test("count in the text that it names", () => {
    expect(inspectedText(bytes)).toBe(read);
  });
});

test("tells the book, its language, its kind and who speaks", () => {
  const { dialogue, chapters, chunks, ...book }: Inspection = inspectFile("weir.md", Buffer.from(text));
  expect(book).toEqual({
    file: "weir.md",
    encoding: "utf-8",
    notes: [],
    characters: text.length,
    kind: "dialogue",
    language: "en",
    title: "The Weir",
    author: null,
  });
  expect(chapters.map(({ title, scenes }) => [title, scenes])).toEqual([
    ["Chapter 1", 1],
    ["Chapter 2", 1],
  ]);
  expect(dialogue.slice(0, 2).map(({ speaker }) => speaker)).toEqual(["Mara", "Tom"]);
  expect(chunks.map(({ path }) => path)).toEqual(["The Weir > Chapter 1", "The Weir > Chapter 2"]);
});

test("refuses what is no text", () => {
  expect(() => inspectFile("weir.pdf", Buffer.from("%PDF-1.7"))).toThrow("a PDF");
});

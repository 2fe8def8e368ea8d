import { createHash } from "node:crypto";
import { validate } from "uuid";
import { describe, expect, test } from "vitest";
import type { Draft } from "../../src/sources/draft.ts";
import { type Known, novelDrafts } from "../../src/sources/novel.ts";

const tenant_id = "7f0c1a52-6f0e-4a57-9b1c-5a0f0d1e2c3b";
const sentence = (of: string) =>
  `On the day of the ${of} the lamps were lit along the quay before anybody spoke. `;
const paragraph = (of: string) => sentence(of).repeat(12).trim();
const chapter = (of: string, paragraphs = 4) =>
  Array.from({ length: paragraphs }, (_, at) => paragraph(`${of} ${at}`)).join("\n\n");
const bookOf = (chapters: readonly string[]) =>
  `# The Quay\n\n${chapters.map((text, at) => `## Chapter ${at + 1}\n\n${text}`).join("\n\n")}`;
const book = bookOf([
  chapter("owl", 12),
  `${chapter("cat")}\n\n* * *\n\n${chapter("dog")}`,
  chapter("hen", 12),
]);

const draftsOf = (text: string, before: readonly Draft[] = [], file = "quay.md") =>
  novelDrafts({ tenant_id, file, text, known: before.map(known) });
const known = ({ source_id, source_type, metadata }: Draft): Known => ({
  source_id,
  source_type,
  parent_id: (metadata.parent_id as string | undefined) ?? null,
  order: metadata.order as number,
  digest: metadata.digest as string,
});
const idsOf = (drafts: readonly Draft[]) => new Set(drafts.map(({ source_id }) => source_id));
const ofType = (drafts: readonly Draft[], type: string) =>
  drafts.filter(({ source_type }) => source_type === type);
const textsById = (drafts: readonly Draft[]) =>
  new Map(drafts.map(({ source_id, text }) => [source_id, text]));

describe("a first import", () => {
  const drafts = draftsOf(book);

  test("gives story, chapters, scenes and blocks, parents first", () => {
    expect(ofType(drafts, "story")).toHaveLength(1);
    expect(ofType(drafts, "chapter")).toHaveLength(3);
    expect(ofType(drafts, "scene")).toHaveLength(4);
    const seen = new Set<unknown>([undefined]);
    for (const { source_id, metadata } of drafts) {
      expect(seen).toContain(metadata.parent_id);
      seen.add(source_id);
    }
  });

  test("puts text on content blocks only, each the slice that its offsets name", () => {
    for (const { source_type, text, metadata } of drafts) {
      const slice = book.slice(metadata.start as number, metadata.end as number);
      expect(text).toBe(source_type === "content_block" ? slice : "");
      expect(metadata.digest).toBe(createHash("sha256").update(slice).digest("hex"));
    }
    const texts = ofType(drafts, "content_block")
      .map(({ text }) => text)
      .join("\n\n");
    expect(texts).toBe(book.replaceAll(/^(#.*|\* \* \*)\n\n/gm, ""));
  });

  test("gives titles that read as paths", () => {
    expect(drafts[0]).toMatchObject({ title: "The Quay", metadata: { file: "quay.md", language: "en" } });
    expect(ofType(drafts, "chapter").map(({ title }) => title)).toEqual([
      "Chapter 1",
      "Chapter 2",
      "Chapter 3",
    ]);
    expect(ofType(drafts, "scene")[2]?.title).toBe("Chapter 2 · Scene 2");
    expect(new Set(ofType(drafts, "content_block").map(({ title }) => title))).toEqual(
      new Set([
        "The Quay > Chapter 1",
        "The Quay > Chapter 2 · Scene 1",
        "The Quay > Chapter 2 · Scene 2",
        "The Quay > Chapter 3",
      ]),
    );
  });

  test("stand under every Markdown heading above them, and lose no text between those", () => {
    const text =
      "# Title\n\nPara under title.\n\n## A\n\nAlpha.\n\n### A1\n\nAlpha one.\n\n## B\n\n### B1\n\nBeta.\n";
    const blocks = ofType(draftsOf(text), "content_block").map(({ title, text }) => [title, text]);
    expect(blocks).toEqual([
      ["Title > Opening", "Para under title."],
      ["Title > A · Scene 1", "Alpha."],
      ["Title > A · A1", "Alpha one."],
      ["Title > B · B1", "Beta."],
    ]);
  });

  test("says where each stands, and what blocks are made of", () => {
    const [story, first] = drafts;
    expect(first?.metadata).toMatchObject({
      parent_id: story?.source_id,
      story_id: story?.source_id,
      order: 1,
    });
    expect(ofType(drafts, "scene").map(({ metadata }) => metadata.order)).toEqual([1, 1, 2, 1]);
    expect(ofType(drafts, "content_block")[0]?.metadata.content_kind).toBe("narration");
    expect(story?.metadata).not.toHaveProperty("parent_id");
  });

  test("gives uuids that depend on tenant, file and text alone", () => {
    expect(draftsOf(book)).toEqual(drafts);
    expect(drafts.every(({ source_id }) => validate(source_id))).toBe(true);
    expect(idsOf(drafts).size).toBe(drafts.length);
    expect(idsOf(draftsOf(book, [], "other.md")).isDisjointFrom(idsOf(drafts))).toBe(true);
  });

  test("gives repeated text ids of its own", () => {
    const twins = draftsOf(bookOf([chapter("owl"), chapter("owl")]).replace("## Chapter 2", "## Chapter 1"));
    expect(idsOf(twins).size).toBe(twins.length);
  });

  test("names a text without title after its file", () => {
    expect(draftsOf(chapter("owl")).map(({ title }) => title)).toEqual(["quay", "quay", "quay", "quay"]);
  });
});

describe("a second import", () => {
  const before = draftsOf(book);

  test("of the same text gives the same drafts", () => {
    expect(draftsOf(book, before)).toEqual(before);
  });

  test("keeps all ids and changes the text of one block where a paragraph was edited", () => {
    const after = draftsOf(book.replace("hen 1", "hen one"), before);
    expect(idsOf(after)).toEqual(idsOf(before));
    const old = textsById(before);
    expect(after.filter(({ source_id, text }) => old.get(source_id) !== text)).toHaveLength(1);
  });

  test("gives new ids only to an inserted chapter, even beside an edited one", () => {
    const chapters = [chapter("owl", 12), chapter("cat", 12), chapter("hen", 12)];
    const first = draftsOf(bookOf(chapters));
    const inserted = bookOf([
      chapters[0] ?? "",
      chapter("fox"),
      chapter("cat", 12).replace("cat 11", "cat eleven"),
      chapters[2] ?? "",
    ]);
    const after = draftsOf(inserted, first);
    const fresh = after.filter(({ source_id }) => !idsOf(first).has(source_id));
    expect(fresh.map(({ source_type }) => source_type)).toEqual(["chapter", "scene", "content_block"]);
    expect(fresh.at(-1)?.text).toContain("fox");
    expect(idsOf(first).isSubsetOf(idsOf(after))).toBe(true);
  });

  test("keeps the ids of what stays where a chapter was deleted", () => {
    const first = draftsOf(bookOf([chapter("owl", 12), chapter("cat"), chapter("hen", 12)]));
    const after = draftsOf(bookOf([chapter("owl", 12), chapter("hen", 12)]), first);
    expect(idsOf(after).isSubsetOf(idsOf(first))).toBe(true);
    for (const { source_id, text } of after) expect(textsById(first).get(source_id)).toBe(text);
  });

  test("never gives the id of a changed block to another that has its old text", () => {
    const first = draftsOf(bookOf([chapter("owl")]));
    const second = draftsOf(bookOf([chapter("owl").replace("owl 0", "owl zero")]), first);
    const third = draftsOf(
      bookOf([`${chapter("owl").replace("owl 0", "owl zero")}\n\n* * *\n\n${chapter("owl")}`]),
      second,
    );
    expect(idsOf(third).size).toBe(third.length);
    expect(textsById(third).get(ofType(second, "content_block")[0]?.source_id ?? "")).toContain("owl zero");
  });
});

test("keeps offsets in the text as given, and stores it without what Postgres rejects", () => {
  const text = `Once\0 there was a quay.`;
  const [block] = ofType(draftsOf(text), "content_block");
  expect(block).toMatchObject({ text: "Once there was a quay.", metadata: { start: 0, end: text.length } });
});

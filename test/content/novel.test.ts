import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Novel, parseNovel } from "../../src/content/novel.ts";

const prose =
  "The lamps were lit along the quay before anybody spoke.  She waited by the\nharbour wall, and the rain went on falling over the boats.";
const titles = (novel: Novel) => novel.chapters.map(({ title }) => title);
const titlesOf = (headings: readonly string[]) =>
  titles(parseNovel(headings.map((heading) => `${heading}\n\n${prose}`).join("\n\n\n")));
const blocksOf = (novel: Novel) =>
  novel.chapters.flatMap(({ scenes }) => scenes.flatMap(({ blocks }) => blocks));
const textsOf = (text: string) => blocksOf(parseNovel(text)).map(({ start, end }) => text.slice(start, end));

describe("chapters", () => {
  test.each([
    ["English numbers", ["Chapter 1", "Chapter 2", "Chapter 3"]],
    ["Roman numbers", ["CHAPTER I.", "CHAPTER II.", "CHAPTER THE LAST"]],
    ["words", ["Chapter One", "CHAPTER THE SECOND", "Chapter Twenty-One"]],
    ["letters", ["Prologue", "LETTER I.", "Letter 2", "EPILOGUE"]],
    ["numbers alone", ["I", "II", "III", "IV"]],
    ["digits alone", ["1", "2", "3"]],
    ["French", ["CHAPITRE PREMIER", "CHAPITRE II", "Chapitre 3"]],
    ["German", ["Erstes Kapitel", "Zweites Kapitel", "Kapitel 3", "4. Kapitel"]],
    ["Chinese", ["楔子", "第一回", "第十二章", "第100章"]],
  ])("begin at headings in %s", (_, headings) => {
    expect(titlesOf(headings)).toEqual(headings.map((heading) => heading.replace(/\.$/, "")));
  });

  test("begin at decorated headings", () => {
    expect(titlesOf(["*CHAPTER I*", "_CHAPTER II._", "=Chapter 3="])).toEqual([
      "CHAPTER I",
      "CHAPTER II",
      "Chapter 3",
    ]);
  });

  test.each([
    ["CHAPTER I. Down the Quay", "CHAPTER I. Down the Quay"],
    ["Chapter 1: Down the Quay", "Chapter 1. Down the Quay"],
    ["Chapter 1 — Down the Quay", "Chapter 1. Down the Quay"],
    ["Chapter 1 Down the Quay", "Chapter 1. Down the Quay"],
    [
      "CHAPTER I.\nIN WHICH THE LAMPS ARE LIT AND\nNOBODY SPEAKS.",
      "CHAPTER I. IN WHICH THE LAMPS ARE LIT AND NOBODY SPEAKS.",
    ],
    ["1\n\nDown the Quay", "1. Down the Quay"],
    ["I.\nDown the Quay", "I. Down the Quay"],
    ["Chapter 1\n\nIntroduction", "Chapter 1. Introduction"],
    ["Livre premier--Un quai", "Livre premier. Un quai"],
    ["第一回 灯火初上", "第一回 灯火初上"],
  ])("have the title of %j", (heading, title) => {
    const novel = parseNovel(
      `${heading}\n\n\n${prose}\n\n\n${heading.replace(/1|I(?=\.)|一|premier/, (number) => ({ 1: "2", I: "II", premier: "deuxième" })[number] ?? "二")}\n\n${prose}`,
    );
    expect(titles(novel)[0]).toBe(title);
    expect(novel.chapters).toHaveLength(2);
  });

  test.each([
    ["Chapter 3 was the longest that she had ever read."],
    ["Chapter 3. She had read it twice, and it bored her still."],
    ["She had begun\nChapter 3\nof the book by then."],
    ["Part of her wished to go. Book one, she thought, and\nPart Two were lost."],
    ["I went home.\n\nI was tired."],
    ["1984 was a cold year.\n\n12 boats came in."],
    ["Letter after letter came.\n\nBook I read last night was dull."],
    ["1. Open the door.\n\n2. Close it again.\n\n3. Leave the house."],
    ["第一回见到他时，她还小。"],
  ])("do not begin at a sentence: %j", (sentence) => {
    expect(parseNovel(`${prose}\n\n${sentence}\n\n${prose}`).chapters).toHaveLength(1);
  });

  test("belong to the parts and volumes above them", () => {
    const text = `VOLUME I\n\nBOOK THE FIRST. The Quay\n\nCHAPTER I\n\n${prose}\n\nCHAPTER II\n\n${prose}\n\nBOOK THE SECOND\n\nCHAPTER I\n\n${prose}`;
    expect(parseNovel(text).chapters.map(({ part, title }) => [part, title])).toEqual([
      ["VOLUME I · BOOK THE FIRST. The Quay", "CHAPTER I"],
      ["VOLUME I · BOOK THE FIRST. The Quay", "CHAPTER II"],
      ["VOLUME I · BOOK THE SECOND", "CHAPTER I"],
    ]);
  });

  test("belong to an epilogue that has none of its own", () => {
    const text = `PART ONE\n\nCHAPTER I\n\n${prose}\n\nEPILOGUE\n\nCHAPTER I\n\n${prose}`;
    expect(parseNovel(text).chapters.map(({ part }) => part)).toEqual(["PART ONE", "EPILOGUE"]);
  });

  test("begin where a text has no blank lines", () => {
    const line = prose.replaceAll("\n", " ");
    const text = ["Chapter 1: The Lamps", line, line, "Chapter 2: The Quay", "“Go,” she said.", line].join(
      "\n",
    );
    expect(titles(parseNovel(text))).toEqual(["Chapter 1. The Lamps", "Chapter 2. The Quay"]);
  });

  test("open with the motto below the part's heading", () => {
    const text = `PART ONE\n\nAll lamps go out in the end.\n\n1\n\n${prose}\n\n2\n\n${prose}`;
    const [first] = parseNovel(text).chapters;
    expect(text.slice(first?.scenes[0]?.start, first?.scenes[0]?.end)).toBe("All lamps go out in the end.");
    expect(text.slice(first?.start, first?.end)).toBe(text.slice(0, text.indexOf("\n\n2\n")));
  });

  test("are the parts where there is nothing smaller", () => {
    expect(titlesOf(["PART I", "PART II"])).toEqual(["PART I", "PART II"]);
  });

  test("go on where only the numbers do", () => {
    const headings = ["ADVENTURE I. THE LAMPS", "I.", "II.", "ADVENTURE II. THE QUAY", "III. THE BOATS"];
    expect(titlesOf(headings)).toEqual([
      "ADVENTURE I. THE LAMPS",
      "ADVENTURE II. THE QUAY",
      "III. THE BOATS",
    ]);
  });

  test("go on after a misprinted number, not at a year or a page", () => {
    expect(titlesOf(["1", "2", "4", "118", "5"])).toEqual(["1", "2", "4", "5"]);
  });

  test("do not begin in a table of contents", () => {
    const names = ["Chapter I. The Lamps", "Chapter II. The Quay", "Chapter III. The Boats"];
    const book = names.map((name) => `${name}\n\n${prose}`).join("\n\n");
    for (const contents of [
      names.join("\n"),
      names.join("\n\n"),
      names.map((name) => `${name} ..... 12`).join("\n"),
    ]) {
      expect(titles(parseNovel(`THE QUAY\n\nby Ann Vell\n\nCONTENTS\n\n${contents}\n\n\n${book}`))).toEqual(
        names,
      );
    }
    const chinese = ["第一回 灯火", "第二回 码头", "第三回 船"];
    const text = `目录\n${chinese.join("\n")}\n更多小说请看这里\n${chinese.map((name) => `${name}\n她站在雨里，等着船来。`).join("\n")}`;
    expect(titles(parseNovel(text))).toEqual(chinese);
  });

  test("do not begin in an index at the end", () => {
    const names = ["Chapter 1. The Lamps", "Chapter 2. The Quay"];
    const book = names.map((name) => `${name}\n\n${prose}`).join("\n\n");
    expect(titles(parseNovel(`${book}\n\nIndex\n\n${names.join("\n")}\n\nThe index ends here.`))).toEqual(
      names,
    );
  });

  test("do not begin in a table of contents that has parts", () => {
    const part = (name: string, body: string) => `${name}\n\nCHAPTER I\n\n${body}CHAPTER II\n\n${body}`;
    const both = (body: string) =>
      part("Book the First--The Lamps", body) + part("Book the Second--The Quay", body);
    expect(parseNovel(both("") + both(`${prose}\n\n`)).chapters.map(({ part }) => part)).toEqual([
      "Book the First. The Lamps",
      "Book the First. The Lamps",
      "Book the Second. The Quay",
      "Book the Second. The Quay",
    ]);
  });

  test("do not begin in a table of contents that names them otherwise", () => {
    const book = ["1", "2", "3"].map((number) => `${number}\n\n${prose}`).join("\n\n");
    const contents = "CHAPTER ONE\n\nCHAPTER TWO\n\nCHAPTER THREE";
    expect(titles(parseNovel(`CONTENTS\n\n${contents}\n\n${book}`))).toEqual(["1", "2", "3"]);
  });

  test("are one where there are no headings", () => {
    expect(parseNovel(`\n${prose}\n`).chapters).toMatchObject([
      { title: "", start: 1, end: prose.length + 1 },
    ]);
  });

  test("are none where there is no text", () => {
    expect(parseNovel(" \n ").chapters).toEqual([]);
  });

  test("include prose before the first heading, not a title page", () => {
    const headed = `CHAPTER I\n\n${prose}\n\nCHAPTER II\n\n${prose}`;
    expect(titles(parseNovel(`${prose}\n\n${headed}`))).toEqual(["", "CHAPTER I", "CHAPTER II"]);
    expect(parseNovel(`THE QUAY\n\nby\n\nANN VELL\n\n${headed}`)).toMatchObject({
      title: "THE QUAY",
      author: "ANN VELL",
      chapters: [{ title: "CHAPTER I" }, { title: "CHAPTER II" }],
    });
  });
});

describe("Markdown", () => {
  test("has its title on the first heading and its chapters below it", () => {
    const text = `# The Quay\n\n## The Lamps\n\n${prose}\n\n### At Night\n\n${prose}\n\n## The Boats\n\n${prose}`;
    expect(parseNovel(text)).toMatchObject({
      title: "The Quay",
      chapters: [
        { title: "The Lamps", scenes: [{}, { title: "At Night" }] },
        { title: "The Boats", scenes: [{}] },
      ],
    });
  });

  test("has chapters where all headings are alike, and parts above chapters", () => {
    expect(titlesOf(["# The Lamps", "# The Boats"])).toEqual(["The Lamps", "The Boats"]);
    const text = `Part One\n========\n\nThe Lamps\n---------\n\n${prose}\n\nPart Two\n========\n\nThe Boats\n---------\n\n${prose}`;
    expect(parseNovel(text).chapters).toMatchObject([
      { part: "Part One", title: "The Lamps" },
      { part: "Part Two", title: "The Boats" },
    ]);
  });

  test("may carry only the title, above plain headings", () => {
    expect(parseNovel(`# The Quay\n\nChapter 1\n\n${prose}\n\nChapter 2\n\n${prose}`)).toMatchObject({
      title: "The Quay",
      chapters: [{ title: "Chapter 1" }, { title: "Chapter 2" }],
    });
    expect(parseNovel(`# Chapter 1\n\n${prose}`)).toMatchObject({
      title: "",
      chapters: [{ title: "Chapter 1" }],
    });
  });

  test("keeps every word between its headings, however few", () => {
    const text = `Before.\n\n# The Quay\n\nBelow it.\n\n### At Dawn\n\nDawn.\n\n## The Lamps\n\nLit.\n\n## The Boats\n\nIn.`;
    expect(textsOf(text)).toEqual(["Before.", "Below it.", "Dawn.", "Lit.", "In."]);
    expect(parseNovel(text)).toMatchObject({
      title: "The Quay",
      chapters: [
        { title: "", scenes: [{}, {}, { title: "At Dawn" }] },
        { title: "The Lamps" },
        { title: "The Boats" },
      ],
    });
    expect(textsOf("Before.\n\n# The Quay\n\nBelow it.")).toEqual(["Before.", "Below it."]);
    expect(textsOf("# The Quay\n\nBelow it.\n\nChapter 1\n\nLit.\n\nChapter 2\n\nIn.")).toEqual([
      "Below it.",
      "Lit.",
      "In.",
    ]);
  });

  test("has a scene for each heading inside a chapter, with the headings that it stands under", () => {
    const text = `# The Quay\n\n## A\n\n### A1\n\n#### At Night\n\nDark.\n\n#### 7\n\nSeven.\n\n### B2\n\nLit.\n\n## B\n\n#### C\n\nIn.`;
    const scenes = parseNovel(text).chapters.map((chapter) => chapter.scenes.map(({ title }) => title));
    expect(scenes).toEqual([["A1 · At Night", "A1 · 7", "B2"], ["C"]]);
  });

  test("has no scene break inside fenced code", () => {
    const code = "```yaml\na: 1\n\n---\n\nb: 2\n```";
    expect(textsOf(`# The Quay\n\n## A\n\n${prose}\n\n${code}`)).toEqual([`${prose}\n\n${code}`]);
  });

  test("says title and author in its front matter", () => {
    const text = `---\ntitle: "The Quay"\nauthor: Ann Vell\n---\n\n${prose}`;
    expect(parseNovel(text)).toMatchObject({ title: "The Quay", author: "Ann Vell" });
    expect(textsOf(text)).toEqual([prose]);
  });
});

describe("scenes", () => {
  test.each(["* * *", "***", "---", "⁂", "#", "—————", "   *    *    *", "~~~"])(
    "part at %j",
    (separator) => {
      expect(textsOf(`${prose}\n\n${separator}\n\n${prose}`)).toEqual([prose, prose]);
    },
  );

  test("part at numbers inside chapters", () => {
    const text = `Chapter 1\n\nI\n\n${prose}\n\nII\n\n${prose}\n\nChapter 2\n\n${prose}`;
    expect(parseNovel(text).chapters.map(({ scenes }) => scenes.length)).toEqual([2, 1]);
  });

  test("do not part at several blank lines, nor at a list item", () => {
    expect(parseNovel(`${prose}\n\n\n\n\n${prose}\n\n- one\n- two`).chapters[0]?.scenes).toHaveLength(1);
  });
});

describe("blocks", () => {
  const sentence = (of: number) =>
    `In the year ${of} the lamps were lit along the quay before anybody spoke. `;
  const paragraphs = Array.from({ length: 120 }, (_, at) =>
    sentence(at)
      .repeat(2 + (at % 7))
      .trim(),
  );

  test("are whole paragraphs of 2,500 to 5,000 characters", () => {
    const blocks = textsOf(paragraphs.join("\n\n"));
    expect(blocks.join("\n\n")).toBe(paragraphs.join("\n\n"));
    for (const block of blocks.slice(0, -1)) {
      expect(block.length).toBeGreaterThanOrEqual(2_500);
      expect(block.length).toBeLessThanOrEqual(5_000);
    }
  });

  test("are lines where paragraphs have no blank line between them", () => {
    expect(textsOf(paragraphs.join("\r\n")).length).toBeGreaterThan(8);
  });

  test("keep a long paragraph whole, and cut an endless one at sentences", () => {
    const long = sentence(1).repeat(100).trim();
    expect(textsOf(`${prose}\n\n${long}\n\n${prose}`)).toEqual([prose, long, prose]);
    const blocks = textsOf(sentence(1).repeat(400).trim());
    expect(Math.max(...blocks.map((block) => block.length))).toBeLessThanOrEqual(5_000);
    for (const block of blocks) expect(block).toMatch(/^In .*spoke\.$/s);
  });

  test("stay as they are beside an edited paragraph", () => {
    const before = new Set(textsOf(paragraphs.join("\n\n")));
    const changed = paragraphs.map((paragraph, at) => {
      const edited = paragraphs.with(at, `${paragraph} Then the rain came, and nobody was left on the quay.`);
      return textsOf(edited.join("\n\n")).filter((block) => !before.has(block)).length;
    });
    const mean = changed.reduce((sum, count) => sum + count, 0) / changed.length;
    expect(mean).toBeLessThan(1.5);
  });

  test("say what they are made of", () => {
    const text = `${"“Go away at once,” she said. ".repeat(20)}\n\n* * *\n\n${prose}`;
    expect(blocksOf(parseNovel(text)).map(({ content_kind }) => content_kind)).toEqual([
      "mixed",
      "narration",
    ]);
  });
});

test("every offset points into the text as given, inside a Project Gutenberg frame and with CR LF", () => {
  const book = `CHAPTER I\r\n\r\n${prose}\r\n\r\n* * *\r\n\r\n${prose}\r\n\r\nCHAPTER II\r\n\r\n${prose}`;
  const text = `\ufeffTitle: The Quay\r\n\r\n*** START OF THE PROJECT GUTENBERG EBOOK ***\r\n\r\n${book}\r\n\r\n*** END OF THE PROJECT GUTENBERG EBOOK ***\r\nlicence`;
  const novel = parseNovel(text);
  expect(novel.title).toBe("The Quay");
  expect(textsOf(text)).toEqual([prose, prose, prose]);
  expect(novel.chapters.map(({ start, end }) => text.slice(start, end)).join("\r\n\r\n")).toBe(book);
});

test("nests spans in order and covers all but headings and scene breaks, whatever the text", () => {
  const line = fc.constantFrom(
    "Chapter 1",
    "CHAPTER II. The Lamps",
    "PART ONE",
    "I",
    "2",
    "# One",
    "## Two",
    "---",
    "* * *",
    "",
    "",
    "",
    "第一回 灯火",
    "“Go,” she said.",
    "She went to the quay.",
    "Prologue",
  );
  const anyText = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.array(line, { maxLength: 60 }).map((lines) => lines.join("\n")),
  );
  fc.assert(
    fc.property(anyText, (text) => {
      let end = 0;
      for (const chapter of parseNovel(text).chapters) {
        expect(chapter.start).toBeGreaterThanOrEqual(end);
        end = chapter.start;
        for (const scene of chapter.scenes) {
          expect(scene.start).toBeGreaterThanOrEqual(end);
          end = scene.start;
          for (const block of scene.blocks) {
            expect(text.slice(end, block.start).trim()).toBe("");
            expect(block.end).toBeGreaterThan(block.start);
            end = block.end;
          }
          expect(end).toBe(scene.end);
        }
        expect(chapter.end).toBeGreaterThanOrEqual(end);
        end = chapter.end;
      }
      expect(end).toBeLessThanOrEqual(text.length);
    }),
  );
});

test("takes time linear in the text's length", () => {
  const chapter = (at: number) => `Chapter ${at}\n\n${`${prose}\n\n`.repeat(40)}`;
  const text = Array.from({ length: 900 }, (_, at) => chapter(at + 1)).join("\n");
  const start = performance.now();
  expect(parseNovel(text).chapters).toHaveLength(900);
  expect(performance.now() - start).toBeLessThan(5_000);
});

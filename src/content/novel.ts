import type { ContentKind } from "../pipeline.ts";
import { findDialogue } from "./dialogue.ts";
import { findGutenberg } from "./gutenberg.ts";
import { contentKind } from "./kind.ts";
import { normalise } from "./normalise.ts";
import { blocksOf } from "./novel/block.ts";
import { openingOf, titlePage, withoutFrontMatter } from "./novel/front.ts";
import { type Marked, markedHeadings } from "./novel/marked.ts";
import { type Outlined, outline } from "./novel/outline.ts";
import { scenesOf } from "./novel/scene.ts";
import { isBlank, type Span, trimmed } from "./span.ts";

/** A novel as a tree. Every offset is one into the text that was parsed; no span begins or ends with white space. */
export type Novel = {
  /** "" where the text does not say. */
  readonly title: string;
  readonly author?: string;
  /** ISO 639-1, where a Project Gutenberg header names it. */
  readonly language?: string;
  readonly chapters: readonly Chapter[];
};

/** From its heading, and that of a part which it opens, to its last word. */
export type Chapter = Span & {
  /** The heading: "Chapter 3. The Man on the Tor"; "" where there is none. */
  readonly title: string;
  /** The part, book or volume, where there are any: "Book the First. Recalled to Life". */
  readonly part?: string;
  readonly scenes: readonly Scene[];
};

export type Scene = Span & {
  /** Where a heading with words opens it. */
  readonly title?: string;
  readonly blocks: readonly Block[];
};

/** Some paragraphs of a scene, about 4,000 characters: the level at which text is stored and read. */
export type Block = Span & { readonly content_kind: ContentKind };

/**
 * Parses plain text or Markdown into chapters, scenes and blocks. Project Gutenberg's frame, a title page and a table
 * of contents belong to no chapter, but in Markdown every word between headings does; a text without headings is one.
 * Takes time linear in the text's length.
 */
export function parseNovel(text: string): Novel {
  const plain = normalise(text);
  const { start, end, ...frame } = findGutenberg(plain) ?? { start: 0, end: plain.length };
  const { text: book, ...matter } = withoutFrontMatter(plain.slice(start, end));
  const { titleAt, isMarkdown, headings, ...marked } = markedHeadings(book);
  const outlined = outline(book, headings);
  const chapters = withOpening(book, { titleAt, isMarkdown, headings }, outlined);
  const page = headings.length > 0 ? titlePage(book.slice(titleAt.end, outlined[0]?.start)) : {};
  return {
    title: "",
    ...page,
    ...marked,
    ...matter,
    ...frame,
    chapters: parsed(book, chapters).map((chapter) => shifted(chapter, start)),
  };
}

/** What stands before the first chapter is one too where it is prose, and in Markdown whatever it is. */
function withOpening(book: string, marked: Marked, chapters: readonly Outlined[]): readonly Outlined[] {
  const end = chapters[0]?.start ?? book.length;
  const isAllText = marked.isMarkdown || chapters.length === 0;
  const bodies = isAllText ? aroundTitle(book, marked.titleAt, end) : openingOf(book, end);
  const [first, last] = [bodies[0], bodies.at(-1)];
  if (!first || !last) return chapters;
  const sections = marked.headings.filter((heading) => heading.isMarked && heading.start < end);
  return [{ start: first.start, end: last.end, title: "", bodies, sections }, ...chapters];
}

function aroundTitle(book: string, title: Span, end: number): readonly Span[] {
  return [
    { start: 0, end: Math.min(title.start, end) },
    { start: title.end, end },
  ].filter((body) => !isBlank(book, body));
}

function parsed(book: string, chapters: readonly Outlined[]): readonly Chapter[] {
  const utterances = findDialogue(book);
  return chapters.map((chapter) => {
    const { bodies, sections, ...rest } = chapter;
    const scenes = scenesOf(book, chapter).map((scene) => ({
      ...scene,
      blocks: blocksOf(book, scene).map((block) => ({
        ...block,
        content_kind: contentKind(block, utterances),
      })),
    }));
    return { ...rest, ...trimmed(book, chapter), scenes };
  });
}

function shifted(chapter: Chapter, by: number): Chapter {
  const shift = <Part extends Span>(part: Part): Part => ({
    ...part,
    start: part.start + by,
    end: part.end + by,
  });
  const scenes = chapter.scenes.map((scene) => shift({ ...scene, blocks: scene.blocks.map(shift) }));
  return shift({ ...chapter, scenes });
}

import { type Heading as MarkdownHeading, markdownHeadings } from "../markdown.ts";
import type { Span } from "../span.ts";
import { withoutContents } from "./contents.ts";
import { findHeadings, type Heading, type Rank, rankOfTitle } from "./heading.ts";

/** The headings of a text, and the title of the whole where one of them is that. */
export type Marked = {
  readonly title?: string;
  /** The lines of the title; empty at 0 without one. */
  readonly titleAt: Span;
  /** In Markdown, what is no heading is text. */
  readonly isMarkdown: boolean;
  readonly headings: readonly Heading[];
};

/** By Markdown's marks where there are any beside a title, else by their words. Expects normalised text. */
export function markedHeadings(text: string): Marked {
  const markdown = markdownHeadings(text);
  const [first] = markdown;
  const titled =
    first && isTitleOf(text, first, markdown)
      ? { title: first.title, titleAt: first }
      : { titleAt: { start: 0, end: 0 } };
  const others = titled.titleAt === first ? markdown.slice(1) : markdown;
  const headings = others.length > 0 ? ranked(others) : withoutContents(text, findHeadings(text));
  return { ...titled, isMarkdown: markdown.length > 0, headings };
}

/** A first heading that is no "Chapter 1", and stands above all others. */
function isTitleOf(text: string, first: MarkdownHeading, all: readonly MarkdownHeading[]): boolean {
  return rankOfTitle(first.title) === undefined && all.every((other) => isUnder(text, first, other));
}

/** All others are deeper than a title; or as deep, and the title has no text of its own. */
function isUnder(text: string, title: MarkdownHeading, other: MarkdownHeading): boolean {
  if (other === title || other.depth > title.depth) return true;
  return other.depth === title.depth && text.slice(title.end, other.start).trim() === "";
}

/** The highest headings are the chapters, unless each is called a part: then those below them are. */
function ranked(headings: readonly MarkdownHeading[]): readonly Heading[] {
  const depths = [...new Set(headings.map(({ depth }) => depth))].toSorted((a, b) => a - b);
  const [top = 1, second = top] = depths;
  const tops = headings.filter(({ depth }) => depth === top);
  const areParts = second > top && tops.every(({ title }) => rankOfTitle(title) === "part");
  const chapters = areParts ? second : top;
  const labels = labelsBelow(chapters, headings);
  return headings.map(({ start, end, depth }, at) => {
    const rank: Rank = depth < chapters ? "part" : depth === chapters ? "chapter" : "section";
    return { start, end, rank, label: labels[at] ?? "", noun: "#".repeat(depth), title: "", isMarked: true };
  });
}

/** Each heading's title, after those of the headings between it and its chapter: "Harbours · At Night". */
function labelsBelow(chapters: number, headings: readonly MarkdownHeading[]): readonly string[] {
  let open: readonly MarkdownHeading[] = [];
  return headings.map((heading) => {
    open = [...open.filter(({ depth }) => depth > chapters && depth < heading.depth), heading];
    return open.map(({ title }) => title).join(" · ");
  });
}

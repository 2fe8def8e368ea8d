import { paragraphStarts } from "../boundaries.ts";
import { cutAt, type Span, trimmed } from "../span.ts";
import { rankOfTitle } from "./heading.ts";

export type TitlePage = { readonly title?: string; readonly author?: string };

/** The text with YAML front matter blanked out, so that offsets stay, and what that said. */
export function withoutFrontMatter(text: string): TitlePage & { readonly text: string } {
  const [matter, fields] = /^\s*--- *\n((?:[\w-]+ *:.*\n|[ #-].*\n|\n)*?)--- *(?:\n|$)/.exec(text) ?? [];
  if (matter === undefined || fields === undefined) return { text };
  return {
    text: " ".repeat(matter.length - 1) + text.slice(matter.length - 1),
    ...said(yamlField(fields, "title"), yamlField(fields, "author")),
  };
}

function yamlField(fields: string, name: string): string | undefined {
  const value = new RegExp(`^${name} *: *(.+?) *$`, "im").exec(fields)?.[1];
  return value?.replace(/^(["'])(.*)\1$/, "$2");
}

/** What the lines before the first heading say: a title on the first, and "by" somebody, or 《title》 author. */
export function titlePage(text: string): TitlePage {
  const page = text.slice(0, 2_000);
  const [, book, writer] = /^\s*《([^》\n]+)》 *([^\n（(]*)/.exec(page) ?? [];
  if (book !== undefined) return said(book, writer);
  const [first = ""] = page.trim().split("\n");
  const isTitle = first.length <= 100 && !/^(table of )?contents$|^目录$/i.test(first.trim());
  return said(
    isTitle ? first.replace(/[;:,. ]+$/, "") : undefined,
    /^ *by(?: +|:|\s*\n\s*)(\S.{0,80})$/im.exec(page)?.[1],
  );
}

function said(title: string | undefined, author: string | undefined): TitlePage {
  return { ...(title?.trim() && { title: title.trim() }), ...(author?.trim() && { author: author.trim() }) };
}

/** What stands before the first heading, at `to`, from its first paragraph of prose on; nothing without one. */
export function openingOf(text: string, to: number): readonly Span[] {
  const paragraphs = cutAt({ start: 0, end: to }, paragraphStarts(text.slice(0, to)));
  const first = paragraphs.find(({ start, end }) => isProse(text.slice(start, end).trim()));
  return first ? [trimmed(text, { start: first.start, end: to })] : [];
}

/** A sentence of some length, mostly in lower case: neither a title page, nor a list of chapters, nor a credit. */
function isProse(paragraph: string): boolean {
  if (/\p{Script=Han}{20}.*[。！？”」]$/su.test(paragraph)) return true;
  const words = paragraph.split(/\s+/);
  const lower = words.filter((word) => /^[“"(]?\p{Ll}/u.test(word)).length;
  const isSentence = paragraph.length >= 60 && /[.!?”"’)]$/.test(paragraph) && lower >= words.length * 0.6;
  return isSentence && rankOfTitle(paragraph.split("\n")[0] ?? "") === undefined;
}

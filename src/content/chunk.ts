import type { Chunk } from "../pipeline.ts";
import {
  codePointStarts,
  graphemeStarts,
  paragraphStarts,
  sentenceStarts,
  wordStarts,
} from "./boundaries.ts";
import type { Utterance } from "./dialogue.ts";
import { contentKind } from "./kind.ts";
import { type Heading, markdownHeadings } from "./markdown.ts";
import { normalise } from "./normalise.ts";
import { cutAt, isBlank, type Span, trimmed } from "./span.ts";
import { countTokens } from "./tokens.ts";

export type ChunkOptions = {
  /** The entity's title: the first heading of every path. */
  readonly title: string;
  /** Who speaks where, in reading order, as `findDialogue` gives it. */
  readonly utterances: readonly Utterance[];
  /** The most tokens of o200k_base in a chunk. Defaults to 256. */
  readonly budget?: number;
};

/** A text as given, which is counted and stored, and normalised, which is searched for boundaries. */
type Source = { readonly text: string; readonly plain: string };
type Section = Span & { readonly path: string };
type Piece = Span & { readonly tokens: number };

/**
 * Cuts a text at its headings, and what is then above the budget at paragraphs, else sentences, else words, else
 * characters; small neighbours under one heading are put together up to the budget.
 *
 * In reading order, every character that is not white space stands in exactly one chunk, and a chunk neither begins
 * nor ends with white space. A chunk is above the budget only where a single code point is.
 */
export function splitChunks(text: string, { title, utterances, budget = 256 }: ChunkOptions): Chunk[] {
  const source = { text, plain: normalise(text) };
  return sectionsOf(source.plain, title).flatMap((section) =>
    splitPiece(source, section, budget, 0).map(({ start, end, tokens }) => ({
      path: section.path,
      text: text.slice(start, end),
      start,
      end,
      tokens,
      content_kind: contentKind({ start, end }, utterances),
    })),
  );
}

/** From each heading to the next one. A heading with nothing under it but deeper headings opens with them. */
function sectionsOf(text: string, title: string): readonly Section[] {
  const sections: Section[] = [];
  const open: Heading[] = [];
  const headings = markdownHeadings(text);
  let start = 0;
  let path = pathOf(title, open);
  headings.forEach((heading, at) => {
    const previous = headings[at - 1];
    const isOnlyHeadings =
      previous !== undefined &&
      heading.depth > previous.depth &&
      isBlank(text, { start: previous.end, end: heading.start });
    if (!isOnlyHeadings) {
      sections.push({ start, end: heading.start, path });
      start = heading.start;
    }
    while ((open.at(-1)?.depth ?? 0) >= heading.depth) open.pop();
    open.push(heading);
    path = pathOf(title, open);
  });
  return [...sections, { start, end: text.length, path }];
}

function pathOf(title: string, open: readonly Heading[]): string {
  const titles = [title.trim(), ...open.map((heading) => heading.title)].filter((part) => part !== "");
  return titles.filter((part, at) => part !== titles[at - 1]).join(" > ");
}

const boundaries = [paragraphStarts, sentenceStarts, wordStarts, graphemeStarts, codePointStarts] as const;

/** The chunks of a span, cut at the first kind of boundary that makes them small enough. */
function splitPiece(source: Source, span: Span, budget: number, level: number): readonly Piece[] {
  const piece = measure(source, trimmed(source.plain, span), budget);
  if (piece.start === piece.end) return [];
  const startsOf = boundaries[level];
  if (startsOf === undefined || piece.tokens <= budget) return [piece];
  const starts = startsOf(source.plain.slice(piece.start, piece.end)).map((start) => start + piece.start);
  const parts = cutAt(piece, starts).flatMap((part) => splitPiece(source, part, budget, level + 1));
  return merge(source, parts, budget);
}

/** More characters than this a token are no text; counting them would only cost time. */
const mostCharsPerToken = 16;

function measure({ text }: Source, { start, end }: Span, budget: number): Piece {
  const isHuge = end - start > budget * mostCharsPerToken;
  return { start, end, tokens: isHuge ? Number.POSITIVE_INFINITY : countTokens(text.slice(start, end)) };
}

/** Puts neighbours together while their tokens, added up, stay within the budget. */
function merge(source: Source, pieces: readonly Piece[], budget: number): readonly Piece[] {
  const groups: Piece[][] = [];
  let sum = 0;
  for (const piece of pieces) {
    const last = groups.at(-1);
    const gap = last ? source.text.slice(last.at(-1)?.end, piece.start) : "";
    sum += tokensOfGap(gap) + piece.tokens;
    if (last && sum <= budget) last.push(piece);
    else {
      groups.push([piece]);
      sum = piece.tokens;
    }
  }
  return groups.flatMap((group) => join(source, group, budget));
}

/** A single space is mostly part of the next word's token. */
function tokensOfGap(gap: string): number {
  return gap === "" || gap === " " ? 0 : countTokens(gap);
}

/** One piece of all. Together they may cost more than one by one ("1 2" is three tokens): then two, of half each. */
function join(source: Source, pieces: readonly Piece[], budget: number): readonly Piece[] {
  const [first] = pieces;
  const last = pieces.at(-1);
  if (!first || !last || first === last) return pieces;
  const whole = measure(source, { start: first.start, end: last.end }, budget);
  if (whole.tokens <= budget) return [whole];
  const half = pieces.length >> 1;
  return [pieces.slice(0, half), pieces.slice(half)].flatMap((part) => join(source, part, budget));
}

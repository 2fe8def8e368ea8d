import { codePointStarts, lineStarts, paragraphStarts, sentenceStarts, wordStarts } from "../boundaries.ts";
import { cutAt, isBlank, type Span, trimmed } from "../span.ts";

/** A block has between these numbers of characters, unless the scene is shorter or a paragraph longer. */
const shortest = 2_500;
const longest = 5_000;
/** A longer paragraph is cut at its sentences. */
const longestParagraph = 20_000;

/**
 * A scene's paragraphs in blocks of about 4,000 characters.
 *
 * A block ends where, within its bounds, the next paragraph's first words have the lowest hash, not at a count from
 * the scene's start: so an edited paragraph changes its own block and leaves the later cuts where they were.
 */
export function blocksOf(text: string, scene: Span): readonly Span[] {
  const paragraphs = paragraphsOf(text, scene);
  const blocks: Span[] = [];
  for (let from = 0; from < paragraphs.length; ) {
    const to = endOfBlock(text, paragraphs, from);
    blocks.push(joined(paragraphs.slice(from, to)));
    from = to;
  }
  return blocks;
}

function joined(paragraphs: readonly Span[]): Span {
  return { start: paragraphs[0]?.start ?? 0, end: paragraphs.at(-1)?.end ?? 0 };
}

/** The index after the last paragraph of the block that begins with the paragraph `from`. */
function endOfBlock(text: string, paragraphs: readonly Span[], from: number): number {
  const start = paragraphs[from]?.start ?? 0;
  let best = from + 1;
  let lowest = Number.POSITIVE_INFINITY;
  for (let to = from + 1; lengthTo(paragraphs, to, start) <= longest; to++) {
    const next = paragraphs[to];
    if (!next) return to;
    const isLongEnough = lengthTo(paragraphs, to, start) >= shortest;
    const hash = isLongEnough ? hashOfOpening(text, next) : Number.MAX_VALUE;
    if (hash <= lowest) [best, lowest] = [to, hash];
  }
  return best;
}

function lengthTo(paragraphs: readonly Span[], to: number, start: number): number {
  return (paragraphs[to - 1]?.end ?? start) - start;
}

/** FNV-1a of a paragraph's first 64 characters. */
function hashOfOpening(text: string, { start, end }: Span): number {
  let hash = 0x811c9dc5;
  for (let at = start; at < Math.min(end, start + 64); at++) {
    hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193) >>> 0;
  }
  return hash;
}

/** Blank lines part paragraphs. Where they hardly do, each line that ends a sentence ends a paragraph. */
function paragraphsOf(text: string, scene: Span): readonly Span[] {
  const byBlanks = startsIn(text, scene, paragraphStarts);
  const areFar = scene.end - scene.start > shortest * (byBlanks.length + 1);
  const starts = areFar ? startsIn(text, scene, lineStarts) : byBlanks;
  return cutAt(scene, areFar ? merged(byBlanks, starts) : starts)
    .flatMap((paragraph) => shortened(text, paragraph, 0))
    .filter((paragraph) => !isBlank(text, paragraph))
    .map((paragraph) => trimmed(text, paragraph));
}

function merged(some: readonly number[], others: readonly number[]): readonly number[] {
  return [...new Set([...some, ...others])].toSorted((a, b) => a - b);
}

const finer = [sentenceStarts, wordStarts, codePointStarts] as const;

function shortened(text: string, paragraph: Span, level: number): readonly Span[] {
  const startsOf = finer[level];
  if (startsOf === undefined || paragraph.end - paragraph.start <= longestParagraph) return [paragraph];
  const starts = startsIn(text, paragraph, startsOf);
  return cutAt(paragraph, starts).flatMap((part) => shortened(text, part, level + 1));
}

function startsIn(
  text: string,
  { start, end }: Span,
  startsOf: (text: string) => readonly number[],
): readonly number[] {
  return startsOf(text.slice(start, end)).map((offset) => offset + start);
}

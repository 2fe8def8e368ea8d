/**
 * Where a text may be cut. Each function gives the offsets at which a new piece of `text` begins, in rising order,
 * without 0. The white space between two pieces belongs to the second.
 */

/** After a blank line. Expects normalised text. */
export function paragraphStarts(text: string): readonly number[] {
  return Array.from(text.matchAll(/\S(?=[^\S\n]*\n[^\S\n]*\n)/g), ({ index }) => index + 1);
}

/** After a line that ends as a sentence does: where paragraphs have no blank line between them. */
export function lineStarts(text: string): readonly number[] {
  return Array.from(
    text.matchAll(/[.!?。！？…”"'’」』）):：*] *(?=\n)/g),
    (match) => match.index + match[0].length,
  );
}

/** At the end of sentences, by the Unicode rules, but not after an English title such as "Mr.". */
export function sentenceStarts(text: string): readonly number[] {
  return starts(sentences, text.replaceAll("\n", " ")).filter((start) => !endsWithTitle(text, start));
}

/** Between words, by the Unicode rules, which know languages that write no spaces. */
export function wordStarts(text: string): readonly number[] {
  return starts(words, text);
}

/** Between characters as a reader sees them: never inside a surrogate pair, an accent or an emoji. */
export function graphemeStarts(text: string): readonly number[] {
  return starts(graphemes, text);
}

/** Between code points: the last resort, for a single "character" made of thousands. */
export function codePointStarts(text: string): readonly number[] {
  return Array.from(text.matchAll(/./gsu), ({ index }) => index).slice(1);
}

const sentences = new Intl.Segmenter("en", { granularity: "sentence" });
const words = new Intl.Segmenter("en", { granularity: "word" });
const graphemes = new Intl.Segmenter("en", { granularity: "grapheme" });

function starts(segmenter: Intl.Segmenter, text: string): readonly number[] {
  const found: number[] = [];
  for (const { index } of segmenter.segment(text)) {
    if (/\s/.test(text.charAt(index))) continue;
    const start = beforeSpace(text, index);
    if (start > 0) found.push(start);
  }
  return found;
}

function beforeSpace(text: string, offset: number): number {
  let at = offset;
  while (at > 0 && /\s/.test(text.charAt(at - 1))) at--;
  return at;
}

function endsWithTitle(text: string, end: number): boolean {
  return /\b(Mr|Mrs|Ms|Dr|St|Prof|Capt|Col|Gen|Lt|Rev|Hon|Sr|Mme|Mlle|No)\.$/.test(
    text.slice(Math.max(0, end - 6), end),
  );
}

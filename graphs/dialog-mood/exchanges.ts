import { z } from "zod";
import { codePointStarts, graphemeStarts } from "../../src/content/boundaries.ts";
import { findDialogue } from "../../src/content/dialogue.ts";
import type { Span } from "../../src/content/span.ts";
import { SpanShape } from "./schema.ts";

/** A spoken line, quotation marks included. */
export const Line = SpanShape.extend({ speaker: z.string().optional() });
export type Line = z.infer<typeof Line>;

/** Spoken lines that answer each other. */
export const Exchange = z.object({ lines: z.array(Line).min(1) });
export type Exchange = z.infer<typeof Exchange>;

/** A line as it is read: its words, and how the telling around it says that they were spoken. */
export const Turn = Line.extend({ said: z.string(), telling: z.string() });
export type Turn = z.infer<typeof Turn>;

/** Longer telling than this between two lines, in characters, and the talk has stopped: about fifty words. */
const longestPause = 300;
/** A longer exchange is read in parts, so that the curve has points and a model call has a bound. */
const mostLines = 8;
const mostChars = 4_000;
/** The telling that is read with a line, in characters: an incise is shorter. */
const mostTelling = 120;

/** A line of its own that holds nothing but stars, hashes, tildes or dashes. */
const sceneBreak = /\n[^\S\n]*(?:[*#~—–-][^\S\n]*)+\n/;

/** Every spoken line of the text, in order; one too long to be read at once comes in pieces. */
export function spokenLines(text: string): readonly Line[] {
  return findDialogue(text).flatMap((line) => pieces(text, line));
}

/** The lines in runs: a long stretch of telling, a scene break or a full exchange starts the next one. */
export function exchangesOf(text: string, lines: readonly Line[]): Exchange[] {
  const exchanges: Exchange[] = [];
  for (const line of lines) {
    const current = exchanges.at(-1);
    if (current && answers(text, current, line)) current.lines.push(line);
    else exchanges.push({ lines: [line] });
  }
  return exchanges;
}

/** Where an exchange begins and ends. */
export function spanOf({ lines }: Exchange): Span {
  return { start: lines[0]?.start ?? 0, end: lines.at(-1)?.end ?? 0 };
}

/** Who speaks, in the order of their first lines. */
export function speakersOf({ lines }: Exchange): string[] {
  return [...new Set(lines.flatMap(({ speaker }) => speaker ?? []))];
}

/** The lines with their words. What is told between two lines belongs to the first, before all of them to the next. */
export function turnsOf(text: string, { lines }: Exchange): Turn[] {
  return lines.map((line, i) => {
    const after = tellingAfter(text, line.end, lines[i + 1]?.start);
    const before = tellingBefore(text, line.start, lines[i - 1]?.end);
    return { ...line, said: text.slice(line.start, line.end), telling: `${before} ${after}`.trim() };
  });
}

function answers(text: string, { lines }: Exchange, next: Line): boolean {
  const last = lines.at(-1);
  const first = lines[0];
  if (!last || !first || lines.length >= mostLines || next.end - first.start > mostChars) return false;
  const pause = text.slice(last.end, next.start);
  return pause.trim().length <= longestPause && !sceneBreak.test(pause);
}

function pieces(text: string, line: Line): Line[] {
  const cut: Line[] = [];
  let start = line.start;
  while (line.end - start > mostChars) {
    const end = start + goodCut(text.slice(start, start + mostChars));
    cut.push({ ...line, start, end });
    start = end;
  }
  return [...cut, { ...line, start }];
}

/**
 * The last end of a paragraph, else of a sentence, else of a word, in the second half of `piece`; else before its last
 * character, of which the next piece may hold the rest.
 */
function goodCut(piece: string): number {
  const half = piece.length / 2;
  for (const mark of ["\n\n", ". ", "! ", "? ", "。", " "]) {
    const at = piece.lastIndexOf(mark);
    if (at >= half) return at + mark.length;
  }
  return graphemeStarts(piece).at(-1) ?? codePointStarts(piece).at(-1) ?? piece.length;
}

/** Not after a title: `said Mr. Hale coldly` goes on. */
const sentenceEnd = /(?<!\b(?:Mr|Mrs|Ms|Dr|St))[.!?](?=\s|$)|\n\s*\n/g;

/** From the end of a line to the end of that sentence of telling, and no further than the next line. */
function tellingAfter(text: string, from: number, next = text.length): string {
  const rest = text.slice(from, Math.min(next, from + mostTelling));
  const end = rest.search(sentenceEnd);
  return (end < 0 ? rest : rest.slice(0, end)).trim();
}

/** The sentence of telling that leads into a line: `She shouted: “Go!”`. What runs on from the last line is that one's. */
function tellingBefore(text: string, to: number, previous?: number): string {
  const from = Math.max(previous ?? 0, to - mostTelling);
  const lead = text.slice(from, to);
  const last = [...lead.matchAll(sentenceEnd)].at(-1);
  if (last) return lead.slice(last.index + last[0].length).trim();
  return from === previous ? "" : lead.trim();
}

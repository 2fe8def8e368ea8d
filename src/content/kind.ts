import type { ContentKind, SourceType, TextKind } from "../pipeline.ts";
import type { Utterance } from "./dialogue.ts";
import type { Span } from "./span.ts";

/** From this spoken share of its characters on, a span is dialogue. */
const dialogueFrom = 0.8;
/** Below this spoken share, a span is narration: one quoted word does not make a conversation. */
const narrationBelow = 0.05;

/** Dialogue from 80 % spoken characters on, narration below 5 %, else mixed. `utterances` in reading order. */
export function contentKind(span: Span, utterances: readonly Utterance[]): ContentKind {
  const share = spokenShare(span, utterances);
  if (share >= dialogueFrom) return "dialogue";
  return share < narrationBelow ? "narration" : "mixed";
}

/**
 * What kind of text an entity holds: nothing to read, mostly fields and lists, prose in which somebody speaks, or
 * prose in which nobody does. A sheet about a character or a place needs fewer fields to count as structured than
 * a piece of a story.
 */
export function detectKind(
  entity: { readonly source_type: SourceType; readonly text: string },
  utterances: readonly Utterance[],
): TextKind {
  if (!/[\p{L}\p{N}]/u.test(entity.text)) return "empty";
  if (isStructured(entity, utterances)) return "structured";
  return utterances.length > 0 ? "dialogue" : "narration";
}

const stories: readonly SourceType[] = ["story", "chapter", "scene", "beat", "content_block"];

/** A play's `NAME: line` looks like fields; that most of it is spoken tells them apart. */
function isStructured(
  { source_type, text }: { readonly source_type: SourceType; readonly text: string },
  utterances: readonly Utterance[],
): boolean {
  if (spokenShare({ start: 0, end: text.length }, utterances) >= 0.5) return false;
  const lines = text.split(/\r\n?|\n/).filter((line) => line.trim() !== "");
  const isStory = stories.includes(source_type);
  const fields = lines.filter((line) => isField(line) || (!isStory && isShort(line)));
  return fields.length > lines.length * (isStory ? 0.7 : 0.5);
}

/** `Key: value`, a list item, a table row or a heading. */
function isField(line: string): boolean {
  return (
    /^\s*[*_]{0,2}[\p{L}\p{N}][^:：.!?。]{0,30}[:：]/u.test(line) ||
    /^\s*([-+*•‣·|]|#{1,6}|\d{1,3}[.)])\s/.test(line)
  );
}

/** A line that is a name or a word or two, not a sentence. */
function isShort(line: string): boolean {
  const trimmed = line.trim();
  return trimmed.length <= 40 && !/[.!?。！？…"”»」]$/.test(trimmed);
}

/** The share of the span's characters that is spoken, from 0 to 1. */
function spokenShare({ start, end }: Span, utterances: readonly Utterance[]): number {
  let spoken = 0;
  let from = start;
  for (let at = firstEndingAfter(utterances, start); at < utterances.length; at++) {
    const utterance = utterances[at];
    if (!utterance || utterance.start >= end) break;
    spoken += Math.max(0, Math.min(utterance.end, end) - Math.max(utterance.start, from));
    from = Math.max(from, utterance.end);
  }
  return end > start ? spoken / (end - start) : 0;
}

/** By halving, so that asking for each of a text's chunks stays cheap. */
function firstEndingAfter(utterances: readonly Utterance[], offset: number): number {
  let low = 0;
  let high = utterances.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((utterances[middle]?.end ?? 0) > offset) high = middle;
    else low = middle + 1;
  }
  return low;
}

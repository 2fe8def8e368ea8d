import { findDashed } from "./dialogue/dashes.ts";
import { withoutFences } from "./dialogue/fences.ts";
import { type Stretch, withoutIncises } from "./dialogue/incises.ts";
import { blockStarts, type Layout, layoutOf } from "./dialogue/layout.ts";
import { findMarks } from "./dialogue/marks.ts";
import { pairMarks } from "./dialogue/pairing.ts";
import { speakerNear } from "./dialogue/speaker.ts";
import { spokenOnes } from "./dialogue/spoken.ts";

/** Something somebody says. Offsets are UTF-16 code units into the text, end exclusive, quotation marks included. */
export type Utterance = { readonly start: number; readonly end: number; readonly speaker?: string };

/**
 * The spoken lines of a text, in order, never overlapping.
 *
 * Speech over several paragraphs is an utterance for each. What interrupts it (“dit-il”, “said Jane”) is left out
 * wherever it can be told, so one sentence may be two utterances. Names, titles, quoted words and quoted letters
 * are no speech, nor is fenced Markdown code. `speaker` is set only where the text names one beside the line, in the text's own words.
 */
export function findDialogue(marked: string): readonly Utterance[] {
  const layout = layoutOf(marked);
  const text = withoutFences(marked);
  return attribute(text, outermost([...findDashed(text, layout), ...findQuoted(text, layout)]), layout);
}

/** French sets “dit-il” inside the marks; other languages close them before the tag. */
const incised = /^[«»—–]|\p{Ll}-(?:t-)?(?:il|elle|on|je|ils|elles)(?!\p{L})/u;

function findQuoted(text: string, layout: Layout): Stretch[] {
  const quotations = pairMarks(text, findMarks(text), blockStarts(text, layout), layout);
  return spokenOnes(text, quotations, layout).flatMap((quotation) =>
    incised.test(text.slice(quotation.start, quotation.end)) ? withoutIncises(text, quotation) : [quotation],
  );
}

/** In order, without what begins inside another: a quotation within a quotation belongs to it. */
function outermost(stretches: readonly Stretch[]): Stretch[] {
  let reached = 0;
  return stretches
    .toSorted((a, b) => a.start - b.start || b.end - a.end)
    .filter(({ start, end }) => {
      if (start < reached) return false;
      reached = end;
      return true;
    });
}

/** How far from a line its speaker is looked for, in characters. */
const reach = 160;
const blankLine = /\n[ \t\r]*\n/;

function attribute(text: string, lines: readonly Stretch[], layout: Layout): Utterance[] {
  let last: Utterance | undefined;
  return lines.map(({ start, end }, i) => {
    const gap = text.slice(Math.max(last?.end ?? 0, start - reach), start);
    const rest = text.slice(end, Math.min(lines[i + 1]?.start ?? text.length, end + reach));
    const near = speakerNear(gap.split(blankLine).at(-1) ?? "", rest.split(blankLine)[0] ?? "");
    const speaker = near ?? (last && goesOn(text, last.end, start, layout) ? last.speaker : undefined);
    last = speaker === undefined ? { start, end } : { start, end, speaker };
    return last;
  });
}

/** Whether the line at `start` goes on with the one before: only “said Jane.” stands between, in one paragraph. */
function goesOn(text: string, end: number, start: number, layout: Layout): boolean {
  if (start - end > reach || /[—–―]/.test(text[start] ?? "")) return false;
  const between = text.slice(end, start);
  return /\p{L}/u.test(between) && !(layout === "blocks" ? blankLine : /\n/).test(between);
}

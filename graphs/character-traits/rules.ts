/** The branch that needs no model: what English text says of a character in so many words, and nothing inferred. */
import { setImmediate } from "node:timers/promises";
import { findDialogue } from "../../src/content/dialogue.ts";
import { type English, loadEnglish } from "../../src/content/english.ts";
import { castSentence, subjectsOf } from "./cast.ts";
import { traitsSaid } from "./clause.ts";
import { findMentions } from "./names.ts";
import type { NumberedPassage } from "./passages.ts";
import type { LocatedClaim } from "./schema.ts";
import { readSheet, type Stretch } from "./sheet.ts";
import { sentencesOf } from "./words.ts";

/** How sure a field of the character's own sheet makes us: its author says so. */
const listedConfidence = 0.95;

/** What the rules find in `passages`. Lets other work in after each passage, and stops when `signal` fires. */
export async function claimsByRules(
  names: readonly string[],
  passages: readonly NumberedPassage[],
  signal?: AbortSignal,
): Promise<LocatedClaim[]> {
  const english = await loadEnglish();
  const claims: LocatedClaim[] = [];
  for (const numbered of passages) {
    signal?.throwIfAborted();
    claims.push(...claimsIn(english, names, numbered));
    await setImmediate();
  }
  return claims;
}

function claimsIn(english: English, names: readonly string[], numbered: NumberedPassage): LocatedClaim[] {
  const { number, passage, own } = numbered;
  const whole: Stretch = { text: passage.text, start: 0 };
  const { listed, prose } = own ? readSheet(passage.text) : { listed: [], prose: [whole] };
  return [
    ...listed.map((trait) => ({ ...trait, confidence: listedConfidence, passage: number })),
    ...prose.flatMap((stretch) => claimsInProse(english, names, stretch, numbered)),
  ];
}

function claimsInProse(
  english: English,
  names: readonly string[],
  { text, start }: Stretch,
  { number, own }: NumberedPassage,
): LocatedClaim[] {
  const [mentions, speech] = [findMentions(text, names), findDialogue(text)];
  const sentences = sentencesOf(english, text).map((words) => castSentence(words, mentions, speech));
  return sentences.flatMap((sentence, at) =>
    traitsSaid(sentence, subjectsOf(sentence, sentences[at - 1] ?? [], own)).map((said) => {
      const [from = 0, to] = [sentence[said.first]?.start, sentence[said.last]?.end];
      const { trait, category } = said.entry;
      return {
        trait,
        category,
        confidence: said.confidence,
        passage: number,
        quote: text.slice(from, to),
        from: start + from,
      };
    }),
  );
}

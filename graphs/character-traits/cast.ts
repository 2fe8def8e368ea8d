import type { Span } from "../../src/content/span.ts";
import { traitWord } from "./lexicon.ts";
import type { Word } from "./words.ts";

/** Who a word names: the character, or somebody or something else with a name. */
export type Token = Word & { readonly who?: "self" | "other"; readonly spoken: boolean };

export type Sentence = readonly Token[];

/** Marks the names in a sentence and makes each of them one token; says which words are spoken. */
export function castSentence(
  words: readonly Word[],
  mentions: readonly Span[],
  speech: readonly Span[],
): Sentence {
  const tokens: Token[] = [];
  for (const word of words) {
    const mention = mentions.find((span) => overlap(span, word));
    const who = whoIs(word, mention);
    const before = tokens.at(-1);
    const same = before?.who !== undefined && before.who === who && (!mention || overlap(mention, before));
    const token = { ...word, ...(who && { who }), spoken: speech.some((span) => overlap(span, word)) };
    if (same) tokens.splice(-1, 1, { ...token, start: before.start, text: `${before.text} ${word.text}` });
    else tokens.push(token);
  }
  return tokens;
}

function whoIs(word: Word, mention: Span | undefined): Token["who"] {
  if (mention) return "self";
  return isName(word) ? "other" : undefined;
}

/** "Brave Mara" at the start of a sentence is tagged like a name; a trait word is none. */
const isName = ({ pos, lower }: Word) => pos === "PROPN" && !traitWord("adjectives", lower);

const overlap = (a: Span, b: Span) => a.start < b.end && b.start < a.end;

/** Words that speak of somebody else than the one that "he" or "she" may stand for. */
const others: Readonly<Record<string, ReadonlySet<string>>> = {
  he: new Set(["she", "her", "hers", "herself", "him", "they", "them"]),
  she: new Set(["he", "his", "himself", "him", "they", "them"]),
};
const people = new Set(
  (
    "man woman boy girl child person lady gentleman king queen prince princess father mother brother sister son " +
    "daughter husband wife uncle aunt friend stranger master mistress captain soldier doctor nurse servant maid " +
    "priest lord guard fellow lad keeper cousin neighbour neighbor teacher baby widow officer sailor thief"
  ).split(" "),
);

/** Whether a word means a person of any name: "woman", "sister", "slave-girl". */
export function isPerson(word: Word | undefined): boolean {
  return word !== undefined && (people.has(word.lemma) || /(?:man|woman|girl|boy|maid)$/.test(word.lemma));
}

/**
 * Where a sentence speaks of the character: its names, and "he" or "she" where nobody else is named or mentioned in
 * this sentence and the one before. `own` is true of the character's own text, where "she" needs no name before it.
 */
export function subjectsOf(sentence: Sentence, before: Sentence, own: boolean): readonly number[] {
  return sentence.flatMap((token, at) =>
    token.who === "self" || refersBack(sentence, before, at, own) ? [at] : [],
  );
}

function refersBack(sentence: Sentence, before: Sentence, at: number, own: boolean): boolean {
  const pronoun = sentence[at];
  const somebodyElse = pronoun && others[pronoun.lower];
  if (!somebodyElse) return false;
  const earlier = [...before, ...sentence.slice(0, at)];
  const named = earlier.filter(({ who }) => who === "self");
  return (
    ![...before, ...sentence].some(({ who }) => who === "other") &&
    !earlier.some((word) => somebodyElse.has(word.lower) || isPerson(word)) &&
    (named.length > 0 ? named.some(({ spoken }) => spoken === pronoun.spoken) : own)
  );
}

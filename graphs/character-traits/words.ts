import type { English, EnglishWord } from "../../src/content/english.ts";

/** A word or mark of a sentence. Offsets are UTF-16 code units into the text that was read, end exclusive. */
export type Word = Omit<EnglishWord, "normal" | "negated"> & { readonly lower: string };

/** The sentences of an English text as lists of their words, "good-natured" as one. */
export function sentencesOf(english: English, text: string): readonly (readonly Word[])[] {
  return english(text).map(({ words }) =>
    joinHyphens(words.filter(({ pos }) => pos !== "SPACE").map(wordOf)),
  );
}

function wordOf({ text, lemma, pos, start, end }: EnglishWord): Word {
  return { text, lower: text.toLowerCase().replaceAll("’", "'"), lemma, pos, start, end };
}

/** wink takes "good-natured" apart; to a reader of traits it is one adjective. */
function joinHyphens(words: readonly Word[]): Word[] {
  const joined: Word[] = [];
  for (const word of words) {
    const before = joined.at(-1);
    const touches = before !== undefined && before.end === word.start;
    if (before && touches && (word.text === "-" || before.text.endsWith("-"))) {
      joined.splice(-1, 1, join(before, word));
    } else joined.push(word);
  }
  return joined;
}

function join(before: Word, after: Word): Word {
  const lower = before.lower + after.lower;
  const pos = before.pos === "PROPN" ? "PROPN" : lower.endsWith("ed") ? "ADJ" : after.pos;
  return { text: before.text + after.text, lower, lemma: lower, pos, start: before.start, end: after.end };
}

import type { ItemSentence, ItemToken, ItsFunction, WinkMethods } from "wink-nlp";

/** A word or mark of a sentence. Offsets are UTF-16 code units into the text that was read, end exclusive. */
export type Word = {
  readonly text: string;
  readonly lower: string;
  readonly lemma: string;
  readonly pos: string;
  readonly start: number;
  readonly end: number;
};

/** Splits English text into sentences of tagged words. */
export type ReadEnglish = (text: string) => readonly (readonly Word[])[];

let loading: Promise<ReadEnglish> | undefined;

/** The English reader, loaded when it is first asked for (about 200 ms) and kept for the life of the process. */
export function english(): Promise<ReadEnglish> {
  loading ??= load();
  return loading;
}

async function load(): Promise<ReadEnglish> {
  const [{ default: winkNLP }, { default: model }] = await Promise.all([
    import("wink-nlp"),
    import("wink-eng-lite-web-model"),
  ]);
  const nlp = winkNLP(model, ["sbd", "pos"]);
  return (text) => sentencesOf(nlp, text);
}

function sentencesOf({ readDoc, its }: WinkMethods, text: string): readonly (readonly Word[])[] {
  const sentences: Word[][] = [];
  let at = 0;
  readDoc(text)
    .sentences()
    .each((sentence: ItemSentence) => {
      const words: Word[] = [];
      sentence.tokens().each((token: ItemToken) => {
        const start = text.indexOf(token.out(), at); // looked up: wink's count of spaces forgets hard ones
        if (start < 0) return;
        const word = wordOf(its, token, start);
        at = word.end;
        if (word.pos !== "SPACE") words.push(word);
      });
      sentences.push(joinHyphens(words));
    });
  return sentences;
}

function wordOf(its: WinkMethods["its"], token: ItemToken, start: number): Word {
  const text = token.out();
  return {
    text,
    lower: text.toLowerCase().replaceAll("’", "'"),
    // wink's types leave out the third argument of its.lemma
    lemma: token.out(its.lemma as unknown as ItsFunction<string>),
    pos: String(token.out(its.pos)),
    start,
    end: start + text.length,
  };
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

import type { ItemSentence, ItemToken, ItsFunction, ItsHelpers, WinkMethods } from "wink-nlp";

/** A word of a sentence, as the part-of-speech tagger and the negation rules see it. */
type Word = {
  readonly normal: string;
  readonly lemma: string;
  readonly pos: string;
  readonly negated: boolean;
};

/** A sentence and where it stands in its text. `sentiment` runs from -1 to 1. */
export type Sentence = {
  readonly start: number;
  readonly text: string;
  readonly sentiment: number;
  readonly words: readonly Word[];
};

/** Splits an English text into tagged sentences. */
export type English = (text: string) => readonly Sentence[];

let loading: Promise<English> | undefined;

/** The English model, loaded when first asked for and once a process: it is some megabytes and takes a moment. */
export function loadEnglish(): Promise<English> {
  loading ??= load();
  return loading;
}

async function load(): Promise<English> {
  const [{ default: winkNLP }, { default: model }] = await Promise.all([
    import("wink-nlp"),
    import("wink-eng-lite-web-model"),
  ]);
  const nlp = winkNLP(model, ["sbd", "negation", "sentiment", "pos"]);
  return (text) => sentencesOf(nlp, text);
}

function sentencesOf({ readDoc, its }: WinkMethods, text: string): readonly Sentence[] {
  const sentences: Sentence[] = [];
  let at = 0;
  const readSentence = (sentence: ItemSentence) => {
    const words: Word[] = [];
    let start = text.length;
    sentence.tokens().each((token: ItemToken) => {
      // Looked up, not added up: wink forgets tabs, hard spaces and what trails.
      const found = text.indexOf(token.out(), at);
      if (found >= 0) {
        start = Math.min(start, found);
        at = found + token.out().length;
      }
      words.push(wordOf(token, its));
    });
    const sentiment = Number(sentence.out(its.sentiment));
    if (start < at) sentences.push({ start, text: text.slice(start, at), sentiment, words });
  };
  readDoc(text).sentences().each(readSentence);
  return sentences;
}

function wordOf(token: ItemToken, its: ItsHelpers): Word {
  return {
    normal: token.out(its.normal),
    // wink's types give a token's lemma one parameter too few.
    lemma: token.out(its.lemma as unknown as ItsFunction<string>),
    pos: token.out(its.pos),
    negated: token.out(its.negationFlag) === true,
  };
}

import type { ItemSentence, ItemToken, ItsFunction, ItsHelpers, WinkMethods } from "wink-nlp";
import { detectLanguage } from "./language.ts";

/**
 * Whether a text is English: by what its author `stated` ("en", "en-GB", "English"), else by its looks. A text too
 * short to tell counts as English where its letters are Latin.
 */
export function isEnglish(text: string, stated?: unknown): boolean {
  if (typeof stated === "string" && stated !== "") return /^en(?:g|glish)?(?![a-z])/i.test(stated);
  const detected = detectLanguage(text);
  return detected ? detected === "en" : /\p{Script=Latin}/u.test(text);
}

/** A word or mark, as the part-of-speech tagger and the negation rules see it. Offsets as of the sentence. */
export type EnglishWord = {
  readonly text: string;
  readonly normal: string;
  readonly lemma: string;
  readonly pos: string;
  readonly negated: boolean;
  readonly start: number;
  readonly end: number;
};

/** A sentence. Offsets are UTF-16 code units into the text that was read, end exclusive; `sentiment` is -1 to 1. */
export type EnglishSentence = {
  readonly start: number;
  readonly end: number;
  readonly text: string;
  readonly sentiment: number;
  readonly words: readonly EnglishWord[];
};

/** Splits an English text into tagged sentences. */
export type English = (text: string) => readonly EnglishSentence[];

let loading: Promise<English> | undefined;

/** The English reader, loaded when first asked for (about 200 ms and some megabytes) and kept by the process. */
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

function sentencesOf({ readDoc, its }: WinkMethods, text: string): readonly EnglishSentence[] {
  const sentences: EnglishSentence[] = [];
  let at = 0;
  const readSentence = (sentence: ItemSentence) => {
    const words: EnglishWord[] = [];
    sentence.tokens().each((token: ItemToken) => {
      // Looked up, not added up: wink forgets tabs, hard spaces and what trails.
      const start = text.indexOf(token.out(), at);
      if (start < 0) return;
      const word = wordOf(token, its, start);
      at = word.end;
      words.push(word);
    });
    const start = words[0]?.start;
    if (start === undefined) return;
    const sentiment = Number(sentence.out(its.sentiment));
    sentences.push({ start, end: at, text: text.slice(start, at), sentiment, words });
  };
  readDoc(text).sentences().each(readSentence);
  return sentences;
}

function wordOf(token: ItemToken, its: ItsHelpers, start: number): EnglishWord {
  const text = token.out();
  return {
    text,
    normal: token.out(its.normal),
    // wink's types give a token's lemma one parameter too few.
    lemma: token.out(its.lemma as unknown as ItsFunction<string>),
    pos: String(token.out(its.pos)),
    negated: token.out(its.negationFlag) === true,
    start,
    end: start + text.length,
  };
}

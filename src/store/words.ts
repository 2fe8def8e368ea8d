/** The languages that Postgres can stem, by ISO 639-1. Every other one is searched as it is written. */
const configs: Readonly<Record<string, string>> = {
  ar: "arabic",
  da: "danish",
  de: "german",
  el: "greek",
  en: "english",
  es: "spanish",
  fi: "finnish",
  fr: "french",
  hu: "hungarian",
  it: "italian",
  nl: "dutch",
  no: "norwegian",
  pt: "portuguese",
  ro: "romanian",
  ru: "russian",
  sv: "swedish",
  tr: "turkish",
};

function searchConfig(language: string | null): string {
  return configs[language ?? ""] ?? "simple";
}

/** What Postgres is given to index of a chunk. */
export function searchable({ path, text }: { path: string; text: string }, language: string | null) {
  return { config: searchConfig(language), path_words: indexed(path), text_words: indexed(text) };
}

/** What Postgres is given to search for. */
export function searchWords(query: string): string {
  return indexed(query).replaceAll(mark, " ");
}

/** Set between words of a script without spaces. The unit separator: no text has it, no word holds it. */
export const mark = "\u001f";

/**
 * A text as Postgres shall read it: as long as the text, but for the marks. Left to itself, Postgres takes "came.Then"
 * for a host, "Mara/Tom" for a path and "<Rose>" for a tag; where its locale is C, it takes “Rose’s” for one word, and
 * knows capitals of English letters only.
 */
export function indexed(text: string): string {
  const plain = lowerCase(text.replace(wordless, ({ length }) => " ".repeat(length)).replace(joint, " "));
  return isSpaced(plain) ? plain : [...segmenter().segment(plain)].map(({ segment }) => segment).join(mark);
}

const wordless = /[^\p{L}\p{M}\p{N}\p{ASCII}]|[<>&\p{Cc}]/gu;
const joint = /(?<=[\p{L}\p{N}])[./\\@:_](?=\p{L})/gu;

/** In lower case where that is as long, so that offsets hold. */
function lowerCase(text: string): string {
  const lower = text.toLowerCase();
  if (lower.length === text.length) return lower;
  return Array.from(text, (one) => (one.toLowerCase().length === one.length ? one.toLowerCase() : one)).join(
    "",
  );
}

const unspaced = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}]/u;

/** Does this text set its words apart by spaces? */
export function isSpaced(text: string): boolean {
  return !unspaced.test(text);
}

let words: Intl.Segmenter | undefined;

function segmenter(): Intl.Segmenter {
  words ??= new Intl.Segmenter("zh", { granularity: "word" });
  return words;
}

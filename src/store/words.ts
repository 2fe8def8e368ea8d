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

export function searchConfig(language: string | null): string {
  return configs[language ?? ""] ?? "simple";
}

/** What Postgres is given to index: it knows no words where they are not set apart by spaces, so we set them apart. */
export function searchable({ path, text }: { path: string; text: string }, language: string | null) {
  return { config: searchConfig(language), path_words: spaced(path), text_words: spaced(text) };
}

const unspaced = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}]/u;

/** The text with its words set apart, where its script does not do so itself; else the text. */
export function spaced(text: string): string {
  if (!unspaced.test(text)) return text;
  return [...segmenter().segment(text)].map(({ segment }) => segment).join(" ");
}

let words: Intl.Segmenter | undefined;

function segmenter(): Intl.Segmenter {
  words ??= new Intl.Segmenter("zh", { granularity: "word" });
  return words;
}

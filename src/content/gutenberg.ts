/** Where the book stands in a Project Gutenberg file, and what the file's header says about it. */
export type Gutenberg = {
  readonly start: number;
  readonly end: number;
  readonly title?: string;
  readonly author?: string;
  /** ISO 639-1. */
  readonly language?: string;
};

/**
 * The book without Project Gutenberg's header, licence and credits, in all the forms these have had since 1991.
 * Undefined for a text that has none. Expects normalised text.
 */
export function findGutenberg(text: string): Gutenberg | undefined {
  const header = headerEnd(text);
  const end = footerStart(text, header ?? 0);
  if (header === undefined && end === undefined) return undefined;
  const start = afterCredits(text, header ?? 0);
  return { start, end: Math.max(start, end ?? text.length), ...described(text.slice(0, header ?? 0)) };
}

/** No header is longer, and no licence after the book. Beyond that, the words are part of a book. */
const longestHeader = 60_000;
const longestFooter = 60_000;

const headerMarks = [
  /^ *\*{3} ?START OF (?:THE|THIS) PROJECT GUTENBERG[^*]{0,300}\*{3} *$/gim,
  /^ *\*END\*? ?THE SMALL PRINT.*$/gim,
  /^ *START OF (?:THE|THIS) PROJECT GUTENBERG.*$/gim,
  /^ *\*{2,3} ?(?:The )?Project Gutenberg(?:'s|’s)? E-?(?:text|book).*\*{2,3} *$/gim,
];

/** Old files carry several marks: the last one of the strongest kind ends the header. */
function headerEnd(text: string): number | undefined {
  const head = text.slice(0, longestHeader);
  for (const mark of headerMarks) {
    const last = Array.from(head.matchAll(mark)).at(-1);
    if (last) return last.index + last[0].length;
  }
  return undefined;
}

const footerMark =
  /^ *(?:\*{3} ?END OF (?:THE|THIS) PROJECT GUTENBERG|(?:\*{3} ?)?End of (?:the |this )?(?:Project Gutenberg|etext)|(?:Fin|Ende|Fine|Einde) (?:de|du|dieses|van|del|di) (?:ce |the )?(?:la )?Projec?k?t Gutenberg|\*{3} ?START: FULL LICENSE)/gim;

function footerStart(text: string, after: number): number | undefined {
  const from = Math.max(after, text.length - longestFooter);
  const mark = text.slice(from).search(footerMark);
  return mark < 0 ? undefined : from + mark;
}

const credits =
  /^\s*(?:\[?(?:Produced|Prepared|Transcribed|Scanned|Digitized|Updated) (?:by|from)|(?:This )?E-?(?:text|book) (?:was )?(?:prepared|produced|transcribed|created)|HTML (?:version|file) by)[^\n]*(?:\n[^\n]*\S[^\n]*){0,6}/i;

function afterCredits(text: string, start: number): number {
  const match = credits.exec(text.slice(start, start + 3_000));
  return match ? start + match[0].length : start;
}

function described(header: string): Pick<Gutenberg, "title" | "author" | "language"> {
  const [, title, author] = firstLine.exec(header) ?? [];
  const found = {
    title: field(header, "Title|Titre|Titel") ?? title?.trim(),
    author: field(header, "Authors?|Auteur|Autor") ?? author?.trim(),
    language: languageCode(field(header, "Language|Langue|Sprache")),
  };
  return Object.fromEntries(Object.entries(found).filter(([, value]) => value));
}

const firstLine =
  /Project Gutenberg(?:'s|’s)?(?: E-?(?:text|book))?(?: of|,)? ([^\n]{1,120}?),? by ([^\n*]{1,80}?) *\**$/im;

/** `Title: …`; a long value goes on in indented lines. */
function field(header: string, names: string): string | undefined {
  const match = new RegExp(`^ *(?:${names}): *(\\S.*(?:\\n {2,}\\S.*)*)`, "im").exec(header);
  return match?.[1]?.replace(/\s+/g, " ").trim();
}

function languageCode(name: string | undefined): string | undefined {
  if (name === undefined) return undefined;
  const [first = ""] = name.toLowerCase().split(/[,;/ ]/);
  if (/^[a-z]{2}$/.test(first)) return first;
  return twoLetterCodes().find((code) => english.of(code)?.toLowerCase() === first);
}

const english = new Intl.DisplayNames("en", { type: "language" });

function twoLetterCodes(): readonly string[] {
  const letters = Array.from("abcdefghijklmnopqrstuvwxyz");
  return letters.flatMap((first) => letters.map((second) => first + second));
}

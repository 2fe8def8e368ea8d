import { type Line, lineAfter, lineAt, lineBefore, read } from "./line.ts";
import { numberOf, numeral, ordinal } from "./numeral.ts";

/**
 * How a heading divides a novel: a `part` holds chapters (a volume, a book), a `chapter` is one, and so is an `aside`
 * (a prologue); a `section` (a number alone on its line) is a chapter where nothing else is, else a scene of one.
 */
export type Rank = "part" | "chapter" | "aside" | "section";

/** A heading's lines are `[start, end)`, its title included. */
export type Heading = {
  readonly start: number;
  readonly end: number;
  readonly rank: Rank;
  /** "Chapter 3", as written. */
  readonly label: string;
  /** "chapter", as written; "" for a number alone. */
  readonly noun: string;
  readonly number?: number | undefined;
  /** The words after the label, "" where there are none. */
  readonly title: string;
  /** Whether Markdown marks it, so that it is a heading whatever its words. */
  readonly isMarked?: boolean;
};

/** What stands on a line that has the form of a heading. */
type Form = Pick<Heading, "rank" | "label" | "noun" | "number" | "title">;

/** Every line that reads as a heading where it stands. Expects normalised text. */
export function findHeadings(text: string): readonly Heading[] {
  const headings: Heading[] = [];
  for (const { index } of text.matchAll(anyHeading)) {
    const heading = headingAt(text, lineAt(text, index));
    if (heading && heading.start >= (headings.at(-1)?.end ?? 0)) headings.push(heading);
  }
  return headings;
}

/** How a title ranks by its words: "Part Two" is a part; undefined where it is no numbered heading. */
export function rankOfTitle(title: string): Rank | undefined {
  return formOf(title.trim())?.rank;
}

export function fullTitle({ label, title }: Pick<Heading, "label" | "title">): string {
  if (title === "") return label;
  return isHan(label) ? `${label} ${title}` : `${label}. ${title}`;
}

const partNouns = "part|book|volume|vol\\.|act|livre|partie|tome|buch|teil|band|akt|parte|libro|tomo";
const chapterNouns =
  "chapter|chap\\.|letter|canto|adventure|stave|chapitre|lettre|kapitel|brief|cap[ií]tulo|capitolo|hoofdstuk|глава";
const sectionNouns = "scene|scène|szene|section";
const asides =
  "(?:(?:the|first|second) +)*(?:prolog(?:ue)?|epilog(?:ue)?|prelude|preface|introduction|foreword|afterword|interlude|conclusion|finale|postscript|appendix)|épilogue|préface|avant-propos|vorwort|nachwort|einleitung|序章?|楔子|引子|前言|尾声|后记|番外";
const nouns = `${partNouns}|${chapterNouns}|${sectionNouns}`;
const ideographs = "[0-9０-９零〇一二三四五六七八九十百千两]+";

/** What decorates a heading: emphasis, rules, the bracket that ends an illustration. */
const open = "[*_=~ -]{0,8}";
const close = "[*_=~ \\]-]{0,8}";

/** `.: Title`, `— Title` or ` Title`. */
const rest = `(?<rest>(?: *[.:;,–—-]+)? *(?<title>.{0,160}?))`;

const forms: readonly { readonly pattern: RegExp; readonly rank?: Rank }[] = [
  {
    pattern: new RegExp(
      `^${open}(?<label>(?<noun>${nouns}) +(?:the +)?(?<number>${numeral}))(?![\\p{L}\\p{N}'’])${rest}${close}$`,
      "iu",
    ),
  },
  {
    pattern: new RegExp(
      `^${open}(?<label>(?:the +)?(?<number>${ordinal}) +(?<noun>${nouns}))(?!\\p{L})${rest}${close}$`,
      "iu",
    ),
  },
  {
    pattern: new RegExp(
      `^${open}(?<label>第 *(?<number>${ideographs}) *(?<noun>[卷部集篇回章节節话話]))(?<rest>[ :：.、]*(?<title>.{0,40}))$`,
      "u",
    ),
  },
  {
    pattern: new RegExp(
      `^${open}(?<label>${asides})(?<rest>(?:[ .:：–—-]+(?<title>.{0,100}?))?)${close}$`,
      "iu",
    ),
    rank: "aside",
  },
  {
    pattern: new RegExp(
      `^${open}(?<label>(?<number>[IVXLC]+|\\d{1,3}))(?<rest>[.)]?|(?: *[.)–—-]+) +(?<title>.{1,100}?))${close}$`,
      "u",
    ),
    rank: "section",
  },
];

/** A quick sieve: the start of each line that may be a heading. */
const anyHeading = new RegExp(
  `^${open}(?:(?:${nouns}) +(?:the +)?[\\p{L}\\p{N}]|(?:the +)?${ordinal} +(?:${nouns})|第 *${ideographs}|(?:${asides})(?![\\p{L}])|(?:[IVXLC]+|\\d{1,3})[ .)\\n–—-])`,
  "gimu",
);

function headingAt(text: string, line: Line): Heading | undefined {
  if (line.end - line.start > 220) return undefined;
  const form = formOf(read(text, line));
  if (!form || !opensFreshly(text, line, form)) return undefined;
  if (isListed(text, line, form)) return undefined;
  return form.title === "" ? untitled(text, line, form) : titled(text, line, form);
}

function formOf(written: string): Form | undefined {
  if (/(\.{3}|\s{2}|…) *\d+$/.test(written)) return undefined; // a table of contents, with its page
  for (const { pattern, rank } of forms) {
    const groups = pattern.exec(written)?.groups;
    if (!groups) continue;
    const { label = "", noun = "", number = "", rest = "", title = "" } = groups;
    if (!isTitle(title, rest)) return undefined;
    return {
      rank: rank ?? rankOf(noun),
      label,
      noun: noun.toLowerCase(),
      number: numberOf(number),
      title: title.trim(),
    };
  }
  return undefined;
}

function rankOf(noun: string): Rank {
  if (new RegExp(`^(?:${partNouns}|[卷部集篇])$`, "iu").test(noun)) return "part";
  return new RegExp(`^(?:${sectionNouns}|[节節])$`, "iu").test(noun) ? "section" : "chapter";
}

/** After a mere space, a title begins with a capital or a quotation mark: "Chapter 3 was long" goes on instead. */
function isTitle(title: string, rest: string): boolean {
  if (title === "") return true;
  if (/[,;，。；]$/.test(title)) return false;
  if (isHan(title)) return /^[ :：.、]/.test(rest) || !/^[的是里中和与，]|[，。！？]/u.test(title);
  return /^ *[.:–—-]/.test(rest) || /^[\p{Lu}\p{N}“"'‘«(_[]/u.test(title);
}

/** In a table of contents, a line like this one stands right above or below. */
function isListed(text: string, line: Line, { rank }: Form): boolean {
  return [lineBefore(text, line), lineAfter(text, line)].some(
    (other) => rankOfTitle(read(text, other)) === rank,
  );
}

/**
 * A heading follows a blank line, or, where paragraphs have none between them, a finished one. `第十二章` seldom opens
 * a line of prose.
 */
function opensFreshly(text: string, line: Line, { rank, label }: Form): boolean {
  if (isHan(label)) return true;
  const before = read(text, lineBefore(text, line));
  if (rank === "section") return before === "";
  return before === "" || /[.!?。！？…”"'’」』）)*\]—-]$/u.test(before) || formOf(before) !== undefined;
}

/** `Chapter 3` alone. Its title may stand on the next lines, or after a blank one. */
function untitled(text: string, line: Line, form: Form): Heading | undefined {
  const isAlone = read(text, lineAfter(text, line)) === "";
  const below = isAlone ? afterBlanks(text, line) : lineAfter(text, line);
  const title = below && titleFrom(text, below, form);
  if (form.rank === "section" && !isAlone && !title) return undefined;
  return { ...form, start: line.start, end: title?.end ?? line.end, title: title?.text ?? "" };
}

/** `Chapter 3. Title`, which may go on for a few lines. A sentence that begins so is none. */
function titled(text: string, line: Line, form: Form): Heading | undefined {
  if (isHan(form.label)) return { ...form, start: line.start, end: line.end };
  const paragraph = shortParagraph(text, line) ?? brokenOff(text, line);
  if (!paragraph) return undefined;
  const title = paragraph.text.slice(paragraph.text.indexOf(form.title));
  if (isSentence(title) || (form.rank === "section" && !namesSection(form, title))) return undefined;
  return { ...form, start: line.start, end: paragraph.end, title: withoutMarks(title) };
}

/** `1. Open the door.` is an item of a list. */
function namesSection({ noun, label }: Form, title: string): boolean {
  if (noun !== "" || isTitling(title)) return true;
  return /^[IVXLC]+$/.test(label) && /^\p{Lu}/u.test(title) && !/[.!?:”"]$/.test(title);
}

type Titling = { readonly text: string; readonly end: number };

/**
 * The title that begins on `line`: a short paragraph in capitals or with capitalised words, before more text. Below
 * `Chapter 1`, "Introduction" is one too.
 */
function titleFrom(text: string, line: Line, { rank }: Form): Titling | undefined {
  const paragraph = shortParagraph(text, line);
  const other = rankOfTitle(read(text, line));
  const isOther = other !== undefined && (other !== "aside" || rank === "part");
  if (!paragraph || isOther || !isTitling(paragraph.text)) return undefined;
  return { text: withoutMarks(paragraph.text), end: paragraph.end };
}

/** The paragraph from `line` on, in one line, if it has at most four lines and 240 characters and is not the last. */
function shortParagraph(text: string, line: Line): Titling | undefined {
  const parts: string[] = [];
  let end = line.end;
  let at: Line | undefined = line;
  for (; at && read(text, at) !== ""; at = lineAfter(text, at)) {
    if (parts.length === 4 || at.end - line.start > 240) return undefined;
    if (parts.length > 0 && formOf(read(text, at))) break;
    parts.push(read(text, at));
    end = at.end;
  }
  return at === undefined ? undefined : { text: parts.join(" "), end };
}

/** A line of its own in a text that has no blank lines: wrapped prose would have gone on to its edge. */
function brokenOff(text: string, line: Line): Titling | undefined {
  const below = read(text, lineAfter(text, line));
  const written = read(text, line);
  return below !== "" && (written.length < 50 || below.length > 120)
    ? { text: written, end: line.end }
    : undefined;
}

function afterBlanks(text: string, line: Line): Line | undefined {
  let at = lineAfter(text, line);
  for (let blanks = 0; at && read(text, at) === "" && blanks < 6; blanks++) at = lineAfter(text, at);
  return at;
}

function isTitling(written: string): boolean {
  if (written.length > 120 || !/\p{L}{2}/u.test(written) || /^[[(]/.test(written)) return false;
  if (written === written.toUpperCase()) return !/^[“"‘'«]/.test(written);
  if (/[.!?,;:…”"’»—-]$|[,;\d“"]/.test(written)) return false;
  const long = written.match(/(?<![\p{L}'’-])\p{L}{4,}/gu) ?? [];
  return /^\p{Lu}/u.test(written) && long.filter((word) => /^\p{Lu}/u.test(word)).length >= long.length * 0.8;
}

/** Longer than a title, in lower case, and ended as a sentence. */
function isSentence(title: string): boolean {
  if (title === title.toUpperCase()) return false;
  const words = title.split(/\s+/);
  const lower = words.filter((word) => /^\p{Ll}/u.test(word)).length;
  return /[.!?”"]$/.test(title) && lower >= words.length * 0.5 && words.length > 3;
}

function withoutMarks(title: string): string {
  return title.replace(/^[*_=~ ]+|[*_=~ \]]+$/g, "");
}

function isHan(written: string): boolean {
  return /\p{Script=Han}/u.test(written);
}

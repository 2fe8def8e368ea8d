import type { Layout } from "./layout.ts";
import type { Quotation } from "./pairing.ts";
import { isSayingVerb, tellsOfSaying, wordsOf } from "./verbs.ts";

/** What a quotation stands in: the sentence up to it, what it says, and what follows. */
type Setting = { readonly lead: string; readonly words: string; readonly rest: string };

const sentenceStarts = /^$|[.!?…。！？—–―\-"“”«»「」『』‘’':：)\]\n][_*]*$/u;
const pauses = /[,，、;；]$/u;
const ends = /[.!?…,。！？，、;—–―\-:_*][)\]_*]*$/u;
const exclaims = /^\P{L}*(?:\p{Lu}|\p{Lo}).*[!?！？][)_*]*$/su;
const quotes = /^["“„”«»「」『』'‘’`]+\s*|\s*["“”«»「」『』'‘’]+$/gu;

/** Quoted, but nobody says it: a caption, something merely imagined or left unsaid, something written. */
const captions = /\[\s*Illustration\s*:?$/i;
const imagined = /(?:\bas (?:much as|if|though) to say|(?:\bnot|\bnever|n['’]t) (?:say|said))\s*[,:]?$/i;
const written =
  /\b(?:wrote|writ(?:e|es|ing|ten)|scrawled|inscri\p{L}+|engraved|carved|painted|printed|letter|note|telegram|placard|headline|epitaph|postscript|label|motto|words like (?:this|these))\b[^.!?]*$/iu;
const inscribed =
  /^[^.!?,;:]{0,20}\b(?:was|were|is|stood)\s+(?:engraved|written|inscribed|painted|printed|carved)\b/;
const aloud =
  /\b(?:sa(?:id|ys?)|cried|exclaim\p{L}*|asked|repl\p{L}+|shout\p{L}*|whisper\p{L}*|murmur\p{L}*|aloud|out)\b/iu;

/** Words before a quoted name or term. */
const names =
  /^(?:called|named|entitled|titled|termed|words?|names?|phrase|term|titles?|as|song|book|poem|sung?)$/i;
const hearers =
  /^(?:he|she|it|we|you|they|him|her|me|us|them|\p{L}+sel(?:f|ves)|again|out|aloud|back|on|il|elle|ils|elles|er|sie|ich)$/iu;
const joins = /^(?:and|or|then|et|ou|puis|und)$/i;

/** The quotations that somebody says, rather than names, terms, things written or words held up to be seen. */
export function spokenOnes(text: string, quotations: readonly Quotation[], layout: Layout): Quotation[] {
  let spoken = false;
  return quotations.filter((quotation, i) => {
    if (!quotation.continues)
      spoken = !opensLetter(text, quotation, quotations[i + 1]) && isSpoken(text, quotation, layout);
    return spoken;
  });
}

/** “My dear Sir,—” alone in its paragraph, and the quotation goes on. */
function opensLetter(text: string, { start, end }: Quotation, next: Quotation | undefined): boolean {
  return next?.continues === true && end - start < 50 && /[,:][—–―-]*$/.test(text.slice(start, end));
}

function isSpoken(text: string, quotation: Quotation, layout: Layout): boolean {
  const setting = settingOf(text, quotation, layout);
  const { lead, words, rest } = setting;
  if (words === "" || captions.test(lead) || imagined.test(lead) || inscribed.test(rest)) return false;
  if (/:[\s—–-]*$/.test(lead) && written.test(lead)) return aloud.test(lead);
  if (sentenceStarts.test(lead) && !/\b(?:Mrs?|Dr|St|MM?|Mmes?|Mlle)\.$/.test(lead))
    return ends.test(words) || !/^\p{Ll}/u.test(rest) || isTagged(setting);
  if (pauses.test(lead))
    return (ends.test(words) && !isTerm(words)) || tellsOfSaying(lead) || isTagged(setting);
  return isIntroduced(lead) || (/[,!?…—-]$/.test(words) && isTagged(setting)) || standsAlone(setting);
}

function settingOf(text: string, { start, end }: Quotation, layout: Layout): Setting {
  const lead = flatten(text.slice(Math.max(0, start - 200), start), layout).replace(/ +$/, "");
  return {
    lead: lead.slice(sentenceStart(lead)),
    words: text.slice(start, end).replace(quotes, "").replace(quotes, ""),
    rest: flatten(text.slice(end, end + 80), layout).trimStart(),
  };
}

/** Where the last sentence of `lead` begins, full or just ended. */
function sentenceStart(lead: string): number {
  let end = lead.length;
  while (end > 0 && !/[\p{L}\p{N}]/u.test(lead[end - 1] ?? "")) end--;
  return Math.max(...[".", "!", "?", "\n", "。"].map((stop) => lead.lastIndexOf(stop, end - 1))) + 1;
}

/** One line for each paragraph: the ends of lines that are only wrapped become spaces. */
function flatten(text: string, layout: Layout): string {
  if (layout !== "blocks") return text.replace(/\s*\n\s*/g, "\n");
  return text.replace(/\s+/g, (gap) => (/\n[^\n]*\n/.test(gap) ? "\n" : " "));
}

/** A word or two without a capital: “met,” */
function isTerm(words: string): boolean {
  return /^\p{Ll}/u.test(words) && !/[!?]$/.test(words) && wordsOf(words).length < 3;
}

/** A verb of saying right before it, perhaps with who is spoken to: said “…”, said to him “…”, cried John “…”. */
function isIntroduced(lead: string): boolean {
  if (/[道说說曰问問]$/u.test(lead)) return true;
  const [third = "", second = "", last = ""] = wordsOf(lead).slice(-3);
  if (names.test(last) || /soi-disant$/.test(lead)) return false;
  if (isSayingVerb(last)) return true;
  if (joins.test(last)) return tellsOfSaying(lead);
  return /^\p{Lu}|ly$/u.test(last) || hearers.test(last)
    ? isSayingVerb(second) || (isSayingVerb(third) && second === "to")
    : false;
}

/** A clause that tells who says it follows: “…,” said Jane; “…!” the old man cried. */
function isTagged({ rest }: Setting): boolean {
  const clause = /^[^.!?,;:"“«]*/u.exec(rest)?.[0] ?? "";
  return wordsOf(clause).slice(0, 4).some(isSayingVerb);
}

/** It is a sentence of its own that no word before it leans on. */
function standsAlone({ lead, words }: Setting): boolean {
  const last = wordsOf(lead).at(-1) ?? "";
  if (names.test(last)) return false;
  return exclaims.test(words);
}

import { entryOf, traitWord } from "./lexicon.ts";
import type { Category } from "./schema.ts";

/** A stretch of a text and where it begins. */
export type Stretch = { readonly text: string; readonly start: number };

/** A trait that a field of the character's own sheet lists. */
type ListedTrait = {
  readonly trait: string;
  readonly category: Category | null;
  readonly quote: string;
  readonly from: number;
};

/** What a sheet says in its trait fields, and the rest of it, to be read as prose. */
type Sheet = { readonly listed: readonly ListedTrait[]; readonly prose: readonly Stretch[] };

/** Fields whose items are traits, whatever the word. */
const listKeys =
  /^(?:(?:character|personality) )?(?:traits?|qualities|virtues|flaws|vices|strengths|weaknesses)$/i;
/** Fields that describe a person, but in any words: only known trait words count there. */
const proseKeys = /^(?:personality|temperament|character|nature|disposition|manner|demeanou?r)$/i;

const field =
  /^[ \t]*(?:[-*+][ \t]+)?(?:\*\*|__)?(\p{L}[\p{L} -]{0,30})(?:\*\*|__)?:(?:\*\*|__)?[ \t]*(.*)$/u;
const heading = /^#{1,6}[ \t]+(\p{L}[\p{L} -]{0,30}):?[ \t]*$/u;
const bullet = /^[ \t]*[-*+][ \t]+(.*)$/;
const negated = /^(?:not|never|no|hardly|un)\b/i;

/** Reads `Traits: patient, curious`, and a `## Traits` heading or an empty `Traits:` with a list under it. */
export function readSheet(text: string): Sheet {
  const listed: ListedTrait[] = [];
  const prose: Stretch[] = [];
  let open: string | undefined;
  for (const line of linesOf(text)) {
    const { key, value } = readLine(line, open);
    if (key === undefined) joinProse(prose, value);
    else if (isTraitKey(key)) listed.push(...itemsOf(key, value));
    else prose.push(value);
    open = value.text === "" || bullet.test(line.text) ? key : undefined;
  }
  return { listed, prose };
}

const isTraitKey = (key: string) => listKeys.test(key) || proseKeys.test(key);

function linesOf(text: string): readonly Stretch[] {
  return Array.from(text.matchAll(/[^\r\n]*\S[^\r\n]*/g), ({ 0: line, index }) => ({
    text: line,
    start: index,
  }));
}

/** A line's field and value. An item of a list belongs to the field that is `open`; prose has no field. */
function readLine(line: Stretch, open: string | undefined): { key?: string; value: Stretch } {
  const named = field.exec(line.text) ?? heading.exec(line.text);
  if (named) return { key: (named[1] ?? "").trim(), value: endOf(line, named[2] ?? "") };
  const item = bullet.exec(line.text)?.[1];
  return open === undefined || item === undefined ? { value: line } : { key: open, value: endOf(line, item) };
}

const endOf = (line: Stretch, text: string): Stretch => ({
  text,
  start: line.start + line.text.length - text.length,
});

/** Lines of prose that follow one another are one stretch, so that a sentence may run over a line's end. */
function joinProse(prose: Stretch[], line: Stretch): void {
  const before = prose.at(-1);
  const touches = before && before.start + before.text.length + 1 === line.start;
  if (touches) prose.splice(-1, 1, { text: `${before.text}\n${line.text}`, start: before.start });
  else prose.push(line);
}

function itemsOf(key: string, { text, start }: Stretch): readonly ListedTrait[] {
  const items = text.matchAll(/(?:(?!\s(?:and|but|&)\s)[^,;/|.])+/g);
  return Array.from(items).flatMap(({ 0: item, index }) =>
    listedTrait(key, item.replace(/^\s*(?:and|but|&)\s+/, "").trim(), start + index),
  );
}

function listedTrait(key: string, quote: string, from: number): readonly ListedTrait[] {
  if (quote === "" || negated.test(quote)) return [];
  const words = quote.toLowerCase().split(/\s+/);
  const entry = entryOf(quote) ?? words.slice(0, 3).map(asAdjective).find(Boolean);
  if (entry) return [{ trait: entry.trait, category: entry.category, quote, from }];
  return listKeys.test(key) && words.length <= 3
    ? [{ trait: words.join(" "), category: null, quote, from }]
    : [];
}

const asAdjective = (word: string) => traitWord("adjectives", word) ?? traitWord("qualities", word);

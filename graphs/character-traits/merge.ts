import { countWords, findQuote } from "../../src/content/quote.ts";
import { entryOf, groupOf } from "./lexicon.ts";
import type { NumberedPassage } from "./passages.ts";
import { type Category, type Evidence, type LocatedClaim, type Trait, TraitName } from "./schema.ts";

/** A claim whose quote was found where it says. */
type Proved = {
  readonly trait: string;
  readonly group: string;
  readonly category: Category | undefined;
  readonly confidence: number;
  readonly evidence: Evidence;
};

/** The claims whose quotes stand in their passages and show the trait. Any other, and one that calls a message a trait, is dropped. */
export function provedClaims(
  claims: readonly LocatedClaim[],
  passages: readonly NumberedPassage[],
): readonly Proved[] {
  const numbered = new Map(passages.map((passage) => [passage.number, passage]));
  return claims.flatMap((claim) => {
    const trait = TraitName.safeParse(plainForm(claim.trait)).data;
    const evidence = evidenceOf(claim, numbered.get(claim.passage));
    return trait && evidence && isShown(trait, evidence) ? [{ ...named(trait, claim), evidence }] : [];
  });
}

/** A single word, such as "she", stands in any passage; it shows only the trait that it names: `Traits: patient`. */
function isShown(trait: string, { quote }: Evidence): boolean {
  return countWords(quote) > 1 || groupOf(plainForm(quote)) === groupOf(trait);
}

function plainForm(words: string): string {
  return words.trim().toLowerCase().replace(/\s+/g, " ");
}

function evidenceOf(
  { quote, from }: LocatedClaim,
  numbered: NumberedPassage | undefined,
): Evidence | undefined {
  if (!numbered) return undefined;
  const { text, source_type, source_id, start } = numbered.passage;
  const found = findQuote(text, quote, from);
  return (
    found && {
      quote: text.slice(found.start, found.end),
      source_type,
      source_id,
      start: start + found.start,
      end: start + found.end,
    }
  );
}

/** The trait as an adjective where it is known in another form, and its group. */
function named(trait: string, { category, confidence }: LocatedClaim) {
  const entry = entryOf(trait);
  return {
    trait: entry?.trait ?? trait,
    group: groupOf(trait),
    category: entry?.category ?? category ?? undefined,
    confidence,
  };
}

/** One trait for each group, called and as sure as its surest claim, with all its evidence; the surest first. */
export function mergeTraits(proved: readonly Proved[]): Trait[] {
  const surestFirst = proved.toSorted((a, b) => b.confidence - a.confidence);
  const merged = Array.from(Map.groupBy(surestFirst, ({ group }) => group).values(), mergeOne);
  return merged.toSorted(
    (a, b) =>
      b.confidence - a.confidence || b.evidence.length - a.evidence.length || (a.trait < b.trait ? -1 : 1),
  );
}

function mergeOne(claims: readonly Proved[]): Trait {
  const [{ trait = "", confidence = 0 } = {}] = claims;
  const category = claims.find((claim) => claim.category)?.category;
  return { trait, ...(category && { category }), confidence, evidence: withoutRepeats(claims) };
}

function withoutRepeats(claims: readonly Proved[]): Evidence[] {
  const first = Map.groupBy(
    claims,
    ({ evidence: { source_id, start, end } }) => `${source_id} ${start} ${end}`,
  );
  return Array.from(first.values()).flatMap(([claim]) => (claim ? [claim.evidence] : []));
}

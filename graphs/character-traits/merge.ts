import { entryOf } from "./lexicon.ts";
import type { NumberedPassage } from "./passages.ts";
import { findQuote } from "./quote.ts";
import type { Category, Evidence, LocatedClaim, Trait } from "./schema.ts";

/** A claim whose quote was found where it says. */
type Proved = {
  readonly trait: string;
  readonly group: string;
  readonly category: Category | undefined;
  readonly confidence: number;
  readonly evidence: Evidence;
};

/** The claims whose quotes stand in their passages; a claim with an invented quote is dropped. */
export function provedClaims(
  claims: readonly LocatedClaim[],
  passages: readonly NumberedPassage[],
): readonly Proved[] {
  const numbered = new Map(passages.map((passage) => [passage.number, passage]));
  return claims.flatMap((claim) => {
    const evidence = evidenceOf(claim, numbered.get(claim.passage));
    return evidence && claim.trait.trim() !== "" ? [{ ...named(claim), evidence }] : [];
  });
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

/** The trait as an adjective, and the group that makes "courageous" and "brave" one trait; an unknown one is its own. */
function named({ trait, category, confidence }: LocatedClaim) {
  const plain = trait.trim().toLowerCase().replace(/\s+/g, " ");
  const entry = entryOf(plain);
  return {
    trait: entry?.trait ?? plain,
    group: entry?.group ?? plain,
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

import { z } from "zod";
import { Emitted, SourceType } from "../../src/pipeline.ts";

/** The sides of a person that a trait may belong to. */
export const categories = [
  "courage",
  "kindness",
  "honesty",
  "will",
  "mind",
  "temper",
  "pride",
  "company",
  "desire",
] as const;

export const Category = z.enum(categories);
export type Category = z.infer<typeof Category>;

/** Words that stand in the text of an entity, `quote === text.slice(start, end)`. */
export const Evidence = z.object({
  quote: z.string().min(1),
  source_type: SourceType,
  source_id: z.guid(),
  start: z.int().nonnegative(),
  end: z.int().positive(),
});
export type Evidence = z.infer<typeof Evidence>;

/** A word or two and never a message: what a model calls a trait goes out with events, to whoever listens. */
export const TraitName = z
  .string()
  .max(40)
  .regex(/^\p{L}[\p{L}\p{M} '’-]*$/u, "expected letters, blanks, hyphens and apostrophes");

/** What a character is like, and where it is written. */
export const Trait = z.object({
  trait: TraitName,
  category: Category.optional(),
  confidence: z.number().min(0).max(1).describe("0 is a guess, 1 is certain"),
  evidence: z.array(Evidence).min(1).describe("Strongest first"),
});
export type Trait = z.infer<typeof Trait>;

/** The traits of one character, surest first, each with every place that shows it. */
export const CharacterTraits = z.object({
  traits: z.array(Trait),
  passages: z.int().nonnegative().describe("How many passages were read"),
  reason: z.string().nullable().describe("Why some or all passages were not read"),
  events: z
    .array(Emitted)
    .describe("character.traits_changed, where the set of traits is another than before"),
});
export type CharacterTraits = z.infer<typeof CharacterTraits>;

/** A trait with the words that are said to show it, before they were looked for in the passage. */
export const Claim = z.object({
  trait: z.string().describe("One English adjective in lower case"),
  category: Category.nullable(),
  confidence: z.number().min(0).max(1),
  passage: z.int().nonnegative().describe("The number of the passage that the quote is from"),
  quote: z.string().describe("The shortest words of the passage that show the trait, copied exactly"),
});
export type Claim = z.infer<typeof Claim>;

/** What a model answers. */
export const Answer = z.object({ traits: z.array(Claim) });

/** A claim of the rules also says where in the passage its quote begins. */
export const LocatedClaim = Claim.extend({ from: z.int().nonnegative().default(0) });
export type LocatedClaim = z.infer<typeof LocatedClaim>;

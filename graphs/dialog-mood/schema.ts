import { z } from "zod";

/**
 * Four pairs of opposites and the middle, so that every turn a scene takes has a name in both directions:
 * joyful and sorrowful, tender and hostile, playful and tense, hopeful and fearful. Surprise is not among them:
 * it lasts a line, and what it turns into is the mood.
 */
export const moods = [
  "joyful",
  "tender",
  "playful",
  "hopeful",
  "sorrowful",
  "hostile",
  "tense",
  "fearful",
  "neutral",
] as const;

export const Mood = z.enum(moods);
export type Mood = z.infer<typeof Mood>;

/** What each mood means, for readers and for models alike. */
export const meanings = {
  joyful: "delight, gratitude, celebration, relief",
  tender: "affection, comfort, care, forgiveness",
  playful: "teasing, wit, banter, mischief",
  hopeful: "longing, encouragement, trust, resolve",
  sorrowful: "grief, regret, loneliness, despair",
  hostile: "anger, contempt, accusation, threat",
  tense: "suspicion, evasion, urgency, unease between the speakers",
  fearful: "dread, alarm, pleading, panic",
  neutral: "calm or matter-of-fact; no mood stands out",
} as const satisfies Record<Mood, string>;

/** A stretch of the entity's text, in UTF-16 code units, end exclusive. */
export const SpanShape = z.object({ start: z.int().nonnegative(), end: z.int().positive() });

/** What a reader, model or rules, says of some dialogue. The evidence comes first: it is to be found, then judged. */
export const Answer = z.object({
  evidence: z
    .string()
    .describe("The shortest quote that shows the mood, two words at least, copied from one spoken line"),
  mood: Mood,
  valence: z.number().min(-1).max(1).describe("-1 is bitter, 0 is even, 1 is happy"),
  confidence: z.number().min(0).max(1).describe("0 is a guess, 1 is certain"),
});
export type Answer = z.infer<typeof Answer>;

/**
 * An answer whose evidence was looked up in what is said. `evidence` is then exactly the text at `evidence_at`.
 * Both are empty where the quote was invented, with a confidence of 0, and where rules found no mood: a neutral line
 * has no words that show it.
 */
export const Reading = Answer.extend({ evidence_at: SpanShape.nullable() });
export type Reading = z.infer<typeof Reading>;

/** The mood of one exchange; `start` and `end` span its spoken lines. */
export const ExchangeMood = Reading.extend({
  ...SpanShape.shape,
  speakers: z.array(z.string()).describe("In the order in which they first speak, where the text tells"),
  lines: z.int().positive(),
});
export type ExchangeMood = z.infer<typeof ExchangeMood>;

/** The mood of the dialogue in one entity, and its curve from exchange to exchange. No mood where nothing was read. */
export const DialogMood = Reading.extend({
  mood: Mood.nullable(),
  lines: z.int().nonnegative().describe("How many spoken lines were found"),
  exchanges: z.array(ExchangeMood).describe("In the order of the text"),
  reason: z.string().optional().describe("Why nothing was read"),
});
export type DialogMood = z.infer<typeof DialogMood>;

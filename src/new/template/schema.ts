import { z } from "zod";

/** What a reader, model or rules, is asked for. Models are sent the descriptions, too. */
export const Reading = z.object({
  quote: z.string().describe("The one sentence that tells most of what happens, copied letter for letter"),
  confidence: z.number().min(0).max(1).describe("0 is a guess, 1 is certain"),
});
export type Reading = z.infer<typeof Reading>;

/** What is stored: the sentence as it stands in the text, and where; or the reason why there is none. */
export const Answer = Reading.extend({
  quote_at: z
    .object({ start: z.int().nonnegative(), end: z.int().positive() })
    .nullable()
    .describe("Offsets into the text in UTF-16 code units, end exclusive"),
  reason: z.string().optional().describe("Why nothing was read"),
});
export type Answer = z.infer<typeof Answer>;

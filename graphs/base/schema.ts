import { z } from "zod";
import { Entity, Ingested } from "../../src/pipeline.ts";

/** The entity's text with every white space as a plain one, offset for offset. */
export const Normalised = z.object({ plain: z.string() });

/** Where somebody speaks. Offsets are UTF-16 code units into the text, end exclusive. */
export const Spoken = z.object({
  spoken: z.array(z.object({ start: z.int().nonnegative(), end: z.int().positive() })),
});

export const Chunked = Ingested.pick({ chunks: true });

export const State = Entity.extend(Normalised.shape).extend(Spoken.shape).extend(Ingested.shape);

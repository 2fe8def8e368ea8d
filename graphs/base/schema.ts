import { z } from "zod";
import { Entity, Ingested } from "../../src/pipeline.ts";

/** Where somebody speaks. Offsets are UTF-16 code units into the text, end exclusive. */
export const Spoken = z.object({
  spoken: z.array(z.object({ start: z.int().nonnegative(), end: z.int().positive() })),
});

export const Chunked = Ingested.pick({ chunks: true });

export const State = Entity.extend(Spoken.shape).extend(Ingested.shape);

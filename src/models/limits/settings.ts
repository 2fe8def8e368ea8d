import { z } from "zod";
import { readTable } from "../table.ts";

/** What a provider lets all of us ask of one model together. What is absent is learnt from its answers. */
const ModelLimits = z.strictObject({
  requests_per_minute: z.number().positive().optional(),
  tokens_per_minute: z.number().positive().optional(),
  /** Calls under way at once. */
  concurrency: z.int().positive().optional(),
});
export type ModelLimits = Readonly<z.infer<typeof ModelLimits>>;

/** Limits by model, as `LOREGRAPH_MODEL_LIMITS` names them; `default` is for every model that has no line of its own. */
const Limits = z.record(z.string(), ModelLimits);

/** The limits of a model. Read from the JSON file at `path`; without one there are none. Throws CONFIG_INVALID. */
export function readLimits(path: string | undefined): (model: string) => ModelLimits {
  if (path === undefined) return () => ({});
  const table = readTable("model limits", path, Limits);
  return (model) => table[model] ?? table.default ?? {};
}

import { z } from "zod";
import { LoregraphError } from "./errors.ts";

/** Longer, and a timer fires at once. */
const longestTimer = 2 ** 31 - 1;
const milliseconds = z.number().positive().max(longestTimer);

/** What no definition of a pipeline may break, whatever its types say. */
const Sound = z.object({
  name: z
    .string()
    .regex(/^[a-z][a-z0-9-]{0,62}$/, "expected lower-case letters, digits and hyphens")
    .refine((name) => name !== "webhook", "webhook stands for deliveries to subscribers"),
  version: z.int().positive(),
  models: z.array(z.string().min(1)).min(1).optional(),
  timeout: milliseconds,
  priority: z.int().min(-32_768).max(32_767),
  retries: z.object({ attempts: z.int().positive(), base: milliseconds, most: milliseconds }),
  checkpoints: z.object({
    durability: z.enum(["async", "sync", "exit"]),
    history: z.boolean(),
    keepHours: z.number().min(0).max(87_600),
  }),
  questions: z
    .object({
      expireHours: z.number().positive().max(87_600),
      default: z.custom(
        (given) => typeof given === "function",
        "expected a function from a question to its answer",
      ),
    })
    .optional(),
});

/** As it was given: what zod may change it may not. */
type Unsound = Omit<z.input<typeof Sound>, "models"> & { readonly models?: readonly string[] | undefined };

/** Throws PIPELINE_INVALID, naming what cannot be. */
export function assertSound(definition: Unsound): void {
  const { error } = Sound.safeParse(definition);
  if (!error) return;
  throw new LoregraphError("PIPELINE_INVALID", `pipeline ${definition.name}:\n${z.prettifyError(error)}`, {
    cause: error,
  });
}

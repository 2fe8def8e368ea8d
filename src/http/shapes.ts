import { z } from "zod";
import { SourceType } from "../pipeline.ts";

/** A moment in an answer, in UTC. `shown` makes it of a Date. */
export const Time = z.iso.datetime();

/** A text that Postgres can hold and compare: without NUL, and without halves of surrogate pairs. */
export const Text = z
  .string()
  .refine(
    (text) => !text.includes("\u0000") && text.isWellFormed(),
    "expected text without NUL and lone surrogates",
  );

export const Id = z.guid().toLowerCase();

export const OfTenant = z.object({ tenant_id: Id });
export const OfOne = OfTenant.extend({ id: Id });
export const OfEntity = OfTenant.extend({ source_type: SourceType, source_id: Id });

/** How a list is asked for: at most `limit` items, after those that ended with `cursor`. */
export const PageQuery = z.strictObject({
  limit: z.coerce.number().int().min(1).max(200).default(50),
  cursor: z.string().max(500).optional().describe("`next` of the page before"),
});

/** A page of a list. `next` is the cursor of the page after it, or null at the end. */
export const Page = <Item extends z.ZodType>(item: Item) =>
  z.object({ items: z.array(item), next: z.string().nullable() });

/** What a JSON reader gets of `Value`: its dates as text. */
export type Shown<Value> = Value extends Date
  ? string
  : Value extends readonly (infer Item)[]
    ? Shown<Item>[]
    : Value extends object
      ? { [Key in keyof Value]: Shown<Value[Key]> }
      : Value;

/** The value with its dates as text, as it will be sent. */
export function shown<Value>(value: Value): Shown<Value> {
  return JSON.parse(JSON.stringify(value));
}

import { z } from "zod";

/**
 * Why an answer does not fit a question's JSON Schema, or undefined where it does. A schema that cannot be read refuses
 * nothing: the graph judges the answer itself.
 */
export function misfit(schema: unknown, answer: unknown): string | undefined {
  const { error } = read(schema).safeParse(answer);
  return error && z.prettifyError(error);
}

/** Deeper than anybody answers on purpose. */
const deepest = 100;

/** In UTF-16 code units of JSON. */
const longest = 65_536;

/** Why an answer cannot be kept, or undefined where it can. */
export function unkeepable(answer: unknown): string | undefined {
  if (!isNestedAtMost(deepest, answer)) return `expected at most ${deepest} levels`;
  if ((JSON.stringify(answer) ?? "null").length > longest)
    return `expected at most ${longest} characters of JSON`;
  return isStorable(answer) ? undefined : "expected text without NUL and lone surrogates";
}

function isNestedAtMost(levels: number, value: unknown): boolean {
  if (typeof value !== "object" || value === null) return true;
  return levels > 0 && Object.values(value).every((inner) => isNestedAtMost(levels - 1, inner));
}

function isStorable(value: unknown): boolean {
  if (typeof value === "string") return !value.includes("\0") && value.isWellFormed();
  if (typeof value !== "object" || value === null) return true;
  return [...Object.keys(value), ...Object.values(value)].every(isStorable);
}

function read(schema: unknown): z.ZodType {
  try {
    return schema == null ? z.unknown() : z.fromJSONSchema(schema as z.core.JSONSchema.JSONSchema);
  } catch {
    return z.unknown();
  }
}

import { z } from "zod";
import type { Measure, Pipeline } from "../pipeline.ts";

/** The measure of each expected field: the pipeline's own, else one that fits its type. */
export function measureOf(
  { measures, output }: Pick<Pipeline, "measures" | "output">,
  field: string,
): Measure {
  return measures[field] ?? byType(output.shape[field]);
}

/** Numbers that need not be whole may be off by a little. */
const defaultWithin = 0.1;

function byType(type: unknown): Measure {
  if (type instanceof z.ZodOptional || type instanceof z.ZodNullable || type instanceof z.ZodDefault)
    return byType(type.unwrap());
  if (type instanceof z.ZodNumber)
    return type.isInt ? { kind: "exact" } : { kind: "numeric", within: defaultWithin };
  if (type instanceof z.ZodString) return { kind: "wordF1" };
  if (type instanceof z.ZodArray) return isOfParts(type.element) ? { kind: "partial" } : { kind: "setF1" };
  return isOfParts(type) || type === undefined ? { kind: "partial" } : { kind: "exact" };
}

function isOfParts(type: unknown): boolean {
  return type instanceof z.ZodObject || type instanceof z.ZodArray || type instanceof z.ZodRecord;
}

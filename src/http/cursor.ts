import type { z } from "zod";
import { LoregraphError } from "../errors.ts";

/** Where a list goes on, as an opaque text: what it holds is the list's own affair, and may change. */
export function writeCursor(position: unknown): string {
  return Buffer.from(JSON.stringify(position)).toString("base64url");
}

/** Reads a cursor that `writeCursor` made. Throws INPUT_INVALID for any other. */
export function readCursor<Position>(
  shape: z.ZodType<Position>,
  cursor: string | undefined,
): Position | undefined {
  if (cursor === undefined) return undefined;
  const position = shape.safeParse(json(Buffer.from(cursor, "base64url").toString()));
  if (position.success) return position.data;
  throw new LoregraphError("INPUT_INVALID", "cursor: expected `next` of an earlier page of the same list");
}

function json(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // the shape refuses it
  }
}

/** The page of `rows`, of which one more than `limit` was asked for, so that its end is known. */
export function pageOf<Row>(
  rows: readonly Row[],
  limit: number,
  position: (row: Row) => unknown,
): { items: readonly Row[]; next: string | null } {
  const items = rows.slice(0, limit);
  const last = items.at(-1);
  return { items, next: rows.length > limit && last !== undefined ? writeCursor(position(last)) : null };
}

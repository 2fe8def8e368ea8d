import { z } from "zod";
import type { SourceType } from "../../pipeline.ts";
import type { ChangePage, IdPage } from "../entity-source.ts";
import { GivenKey, sorted, textOf } from "./key.ts";
import { Malformed } from "./malformed.ts";
import { parseAnswer } from "./parse.ts";

const Cursor = z
  .string()
  .min(1)
  .max(1_000)
  .refine((text) => !text.includes("\0") && text.isWellFormed(), "expected no NUL and no lone surrogates");

const Ids = z.object({ items: z.array(GivenKey), next: Cursor.nullable() });

const Changes = z.object({ changes: z.array(GivenKey), cursor: Cursor, more: z.boolean() });

export type AskedPage = { readonly cursor: string | undefined; readonly limit: number };

/** Reads a page of ids. */
export function readIds(bytes: ArrayBuffer, asked: AskedPage & { type: SourceType | undefined }): IdPage {
  const { items, next } = parseAnswer(Ids, bytes);
  assertPage({ name: "items", items, more: next !== null, cursor: next }, asked);
  const stray = items.findIndex(({ source_type }) => asked.type !== undefined && source_type !== asked.type);
  if (stray >= 0)
    throw new Malformed(`items[${stray}].source_type: expected ${asked.type}, as was asked for`);
  if (new Set(items.map(textOf)).size < items.length) throw new Malformed("items: expected each id once");
  return { ...sorted(items), next };
}

/** Reads a page of changes, each entity once however often it is told of. */
export function readChanges(bytes: ArrayBuffer, asked: AskedPage): ChangePage {
  const { changes, cursor, more } = parseAnswer(Changes, bytes);
  assertPage({ name: "changes", items: changes, more, cursor }, asked);
  const changed = new Map(changes.map((key) => [textOf(key), key]));
  return { ...sorted([...changed.values()]), cursor, more };
}

type Page = {
  readonly name: string;
  readonly items: readonly GivenKey[];
  readonly more: boolean;
  readonly cursor: string | null;
};

/** A page that promises another must lead on: else whoever follows would never come to an end. */
function assertPage({ name, items, more, cursor }: Page, asked: AskedPage): void {
  if (items.length > asked.limit)
    throw new Malformed(`${name}: expected at most ${asked.limit}, got: ${items.length}`);
  if (more && items.length === 0)
    throw new Malformed(`${name}: expected at least one, as there is more, got: none`);
  if (more && cursor === asked.cursor)
    throw new Malformed(`${name}: expected a cursor that moves on, got: the one that was given`);
}

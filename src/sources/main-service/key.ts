import { z } from "zod";
import { SourceType, sourceTypes } from "../../pipeline.ts";
import type { Rejection, SourceKey } from "../entity-source.ts";
import { nearest } from "../nearest.ts";

export const Id = z.guid("expected a uuid").toLowerCase();

/** A key as the service gives it: its type may be one that we do not know. */
export const GivenKey = z.object({ source_type: z.string().min(1).max(100), source_id: Id });
export type GivenKey = z.infer<typeof GivenKey>;

/** The same text for the same entity. */
export function textOf({ source_type, source_id }: GivenKey): string {
  return `${source_type} ${source_id}`;
}

export type Sorted = { readonly keys: readonly SourceKey[]; readonly rejected: readonly Rejection[] };

/** The keys that we can do something with, and the others. */
export function sorted(given: readonly GivenKey[]): Sorted {
  const keys: SourceKey[] = [];
  const rejected: Rejection[] = [];
  for (const { source_type, source_id } of given) {
    const known = SourceType.safeParse(source_type);
    if (known.success) keys.push({ source_type: known.data, source_id });
    else rejected.push({ source_type, source_id, reason: unknownType(source_type) });
  }
  return { keys, rejected };
}

function unknownType(type: string): string {
  const near = nearest(type, sourceTypes);
  return `source_type: unknown type ${type}${near ? `, did you mean ${near}?` : ""}`;
}

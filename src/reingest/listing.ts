import type { EntitySource, SourceKey } from "../sources/entity-source.ts";
import type { NewEntity } from "../store/entities.ts";
import type { Place } from "./reingest.ts";
import type { Scope } from "./scope.ts";

/** A page of entities as another service tells them. */
export type ListedPage = {
  /** What they bear as their source. */
  readonly source: string;
  readonly entities: readonly NewEntity[];
  /** All that was listed and is asked for, whether the service still had it or not. */
  readonly keys: readonly SourceKey[];
  /** What is listed next, or null at the end. */
  readonly next: Place["listing"];
  /** How many were told in a way that cannot be taken in. */
  readonly rejected: number;
};

/** Asks the source for the next page of ids of a type, and for these entities as they are now. */
export async function listPage(
  { from, signal }: { readonly from: EntitySource; readonly signal: AbortSignal },
  { tenant_id, types, ids }: Scope,
  { listing }: Place,
  limit: number,
): Promise<ListedPage> {
  const source_type = listing?.source_type ?? types[0];
  if (source_type === undefined)
    return { source: from.name, entities: [], keys: [], next: null, rejected: 0 };
  const page = await from.listIds(tenant_id, source_type, listing?.cursor ?? undefined, limit, signal);
  const asked = ids && new Set(ids);
  const keys = page.keys.filter(({ source_id }) => asked === undefined || asked.has(source_id));
  const fetched = await from.fetchEntities(tenant_id, keys, signal);
  return {
    source: from.name,
    entities: fetched.entities,
    keys,
    next: page.next === null ? nextType(types, source_type) : { source_type, cursor: page.next },
    rejected: page.rejected.length + fetched.rejected.length,
  };
}

function nextType(types: Scope["types"], type: Scope["types"][number]): Place["listing"] {
  const next = types[types.indexOf(type) + 1];
  return next === undefined ? null : { source_type: next, cursor: null };
}

import type { SourceType } from "../pipeline.ts";
import type { Draft } from "./draft.ts";

/** Which entity of a tenant is meant. Ids are lower-case. */
export type SourceKey = { readonly source_type: SourceType; readonly source_id: string };

/** What a source told and cannot be taken in, and why. The rest can. */
export type Rejection = {
  readonly source_type: string;
  readonly source_id: string;
  readonly reason: string;
};

export type IdPage = {
  /** Each once, and none of another type than was asked for. */
  readonly keys: readonly SourceKey[];
  /** Where the next page begins; null at the end. */
  readonly next: string | null;
  readonly rejected: readonly Rejection[];
};

/** Each asked key is in one of the three, once. */
export type Fetched = {
  readonly entities: readonly Draft[];
  /** What the source does not have, or has no more. */
  readonly missing: readonly SourceKey[];
  readonly rejected: readonly Rejection[];
};

export type ChangePage = {
  /** What was made, changed or deleted; which of these, `fetchEntities` tells. Each once. */
  readonly keys: readonly SourceKey[];
  /** Where the source's changes go on. */
  readonly cursor: string;
  /** Is there more after `cursor`? */
  readonly more: boolean;
  readonly rejected: readonly Rejection[];
};

/**
 * A place that has a tenant's entities and can be asked for them. Nothing is read before it is asked for, and no call
 * keeps more than its own answer. Each throws SOURCE_UNAVAILABLE, SOURCE_REFUSED or SOURCE_ANSWER_INVALID, or the
 * signal's reason.
 */
export type EntitySource = {
  /** What its entities bear as their `source`. */
  readonly name: string;

  /** One page of a tenant's ids, of one type or of all, `limit` at most. Without a cursor it is the first page. */
  listIds(
    tenant_id: string,
    type: SourceType | undefined,
    cursor: string | undefined,
    limit: number,
    signal?: AbortSignal,
  ): Promise<IdPage>;

  /** The named entities as they are now. Any number may be asked for: the source asks in batches. */
  fetchEntities(tenant_id: string, keys: readonly SourceKey[], signal?: AbortSignal): Promise<Fetched>;

  /**
   * What changed after `cursor`, `limit` changes at most; without a cursor, no change but the cursor of this moment.
   * Undefined where the source has forgotten what came after `cursor`: all ids are then to be looked at.
   */
  changesSince(
    tenant_id: string,
    cursor: string | undefined,
    limit: number,
    signal?: AbortSignal,
  ): Promise<ChangePage | undefined>;
};

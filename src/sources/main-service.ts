import { LoregraphError } from "../errors.ts";
import type { EntitySource, Fetched, SourceKey } from "./entity-source.ts";
import { BodyTooLarge } from "./main-service/body.ts";
import { readEntities } from "./main-service/entities.ts";
import { Gone } from "./main-service/failures.ts";
import { textOf } from "./main-service/key.ts";
import { readChanges, readIds } from "./main-service/pages.ts";
import { type Ask, openRequests, type RequestOptions } from "./main-service/requests.ts";

export type MainServiceOptions = RequestOptions & {
  /** The longest text of one entity, in UTF-16 code units; a longer one is rejected. */
  readonly maxTextChars: number;
};

/** How many entities one request asks for, and how many ids or changes one page holds at most. */
const batchSize = 100;
const mostOfPage = 1_000;

/**
 * The product's own service, which keeps docs/main-service.openapi.json. It is reached when it is first asked, and
 * there is nothing to close. Throws CONFIG_INVALID for a URL or a key that cannot be used.
 */
export function openMainService({ maxTextChars, ...options }: MainServiceOptions): EntitySource {
  const ask = openRequests(options);
  return {
    name: "main-service",

    async listIds(tenant_id, type, cursor, limit, signal) {
      const asked = { type, cursor, limit: Math.min(limit, mostOfPage) };
      const path = `tenants/${tenant_id}/entity-ids`;
      return await ask({ method: "get", path, query: asked, read: (bytes) => readIds(bytes, asked) }, signal);
    },

    async fetchEntities(tenant_id, keys, signal) {
      const fetchBatch: Fetch = (batch, stop) =>
        fetchOnce(ask, { tenant_id, keys: batch, maxTextChars }, stop);
      return await fetchAll(fetchBatch, keys, signal);
    },

    async changesSince(tenant_id, cursor, limit, signal) {
      const asked = { cursor, limit: Math.min(limit, mostOfPage) };
      const path = `tenants/${tenant_id}/changes`;
      const query = { since: cursor, limit: asked.limit };
      const read = (bytes: ArrayBuffer) => readChanges(bytes, asked);
      return await unless(Gone, () => ask({ method: "get", path, query, read }, signal));
    },
  };
}

type Fetch = (keys: readonly SourceKey[], signal: AbortSignal) => Promise<Fetched>;

/** Fetches each key once, in batches side by side. The first that fails ends the others. */
async function fetchAll(
  fetchBatch: Fetch,
  keys: readonly SourceKey[],
  signal?: AbortSignal,
): Promise<Fetched> {
  const failed = new AbortController();
  const stop = AbortSignal.any([failed.signal, ...(signal ? [signal] : [])]);
  try {
    return joined(await Promise.all(batchesOf(keys).map((batch) => fetchBatch(batch, stop))));
  } catch (error) {
    failed.abort(error);
    throw error;
  }
}

function batchesOf(keys: readonly SourceKey[]): readonly (readonly SourceKey[])[] {
  const named = keys.map(({ source_type, source_id }) => ({ source_type, source_id }));
  const each = [...new Map(named.map((key) => [textOf(key), key])).values()];
  return Array.from({ length: Math.ceil(each.length / batchSize) }, (_, at) =>
    each.slice(at * batchSize, (at + 1) * batchSize),
  );
}

function joined(parts: readonly Fetched[]): Fetched {
  return {
    entities: parts.flatMap(({ entities }) => entities),
    missing: parts.flatMap(({ missing }) => missing),
    rejected: parts.flatMap(({ rejected }) => rejected),
  };
}

type Batch = {
  readonly tenant_id: string;
  readonly keys: readonly SourceKey[];
  readonly maxTextChars: number;
};

/** Fetches one batch; where its answer is too large, half of it at a time. */
async function fetchOnce(ask: Ask, batch: Batch, signal: AbortSignal): Promise<Fetched> {
  const { tenant_id, keys } = batch;
  const fetched = await unless(BodyTooLarge, () =>
    ask(
      {
        method: "post",
        path: `tenants/${tenant_id}/entities/fetch`,
        body: { keys },
        read: (bytes) => readEntities(bytes, batch),
      },
      signal,
    ),
  );
  if (fetched) return fetched;
  if (keys.length === 1) return { entities: [], missing: [], rejected: keys.map(tooLarge) };
  const middle = Math.ceil(keys.length / 2);
  const halves = [keys.slice(0, middle), keys.slice(middle)];
  return joined(await Promise.all(halves.map((half) => fetchOnce(ask, { ...batch, keys: half }, signal))));
}

function tooLarge(key: SourceKey) {
  return { ...key, reason: "expected an entity that fits into one answer, got: a larger one" };
}

/** What `work` answers, or undefined where it failed for a cause of this kind. */
async function unless<Result>(
  kind: typeof Gone | typeof BodyTooLarge,
  work: () => Promise<Result>,
): Promise<Result | undefined> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof LoregraphError && error.cause instanceof kind) return undefined;
    throw error;
  }
}

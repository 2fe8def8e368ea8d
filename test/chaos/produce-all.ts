import { beginProducing, producePage, type Unproduced } from "../../src/reingest/produce.ts";
import type { ReingestKey } from "../../src/reingest/reingest.ts";
import { scopeOf } from "../../src/reingest/scope.ts";
import type { EntitySource } from "../../src/sources/entity-source.ts";
import type { Context } from "../../src/worker/context.ts";

/** Makes the pages of all reingests of a tenant that are not produced yet, as a producer does. */
export async function produceAll(context: Context, tenant_id: string, source?: EntitySource): Promise<void> {
  const { rows } = await context.pool.query(
    "select tenant_id, id from reingests where tenant_id = $1 and status in ('planned', 'running') and produced_at is null",
    [tenant_id],
  );
  for (const key of rows) await produce(context, key, source);
}

/** Makes the pages of one reingest from where it stands to its end. */
export async function produce(context: Context, key: ReingestKey, source?: EntitySource): Promise<void> {
  let reingest = await beginProducing(context.pool, key);
  while (reingest) reingest = await nextPage(context, reingest, source);
}

async function nextPage(
  context: Context,
  reingest: Unproduced,
  from?: EntitySource,
): Promise<Unproduced | undefined> {
  const { tenant_id, request, created_until } = reingest;
  const scope = await scopeOf(context.pool, context, tenant_id, request, created_until);
  const signal = new AbortController().signal;
  const page = await producePage(context, reingest, scope, from && { from, signal });
  return page.kind === "made" && !page.last ? page.reingest : undefined;
}

import { transaction } from "../../src/db.ts";
import type { RunRequest } from "../../src/ledger/run.ts";
import { type Counted, type Cursor, decideAll, decidePage } from "../../src/reingest/decide.ts";
import { ReingestRequest, understood } from "../../src/reingest/request.ts";
import { type Scope, scopeOf } from "../../src/reingest/scope.ts";
import type { Context } from "../../src/worker/context.ts";

export type Asked = Partial<ReingestRequest> & { readonly created_until?: string };

export async function scopeFor(
  { pool, registry, models }: Context,
  tenant_id: string,
  { created_until, ...given }: Asked = {},
): Promise<Scope> {
  const filters = understood(registry, ReingestRequest.parse(given));
  return await scopeOf(pool, { registry, models }, tenant_id, filters, created_until);
}

/** All that a reingest would enqueue and count, decided page by page. */
export async function decideBy({ pool }: Context, scope: Scope, limit: number) {
  const runs: RunRequest[] = [];
  const pages: Counted[] = [];
  for (let after: Cursor | null = null, ended = false; !ended; ) {
    const page = await decidePage(pool, scope, after, limit);
    runs.push(...page.runs);
    pages.push(page);
    [after, ended] = [page.next, page.next === null];
  }
  return { runs, ...added(pages), pages };
}

/** The same counts, decided in one pass. */
export async function decideAtOnce({ pool }: Context, scope: Scope): Promise<Counted> {
  return added([await transaction(pool, (db) => decideAll(db, scope))]);
}

/** The sum of counts, in an order of its own. */
function added(pages: readonly Counted[]): Counted {
  const sum = <Item>(items: readonly Item[], of: (item: Item) => number) =>
    items.reduce((total, item) => total + of(item), 0);
  const pairs = Object.entries(
    Object.groupBy(
      pages.flatMap((page) => page.pairs),
      ({ source_type, pipeline }) => `${source_type} ${pipeline}`,
    ),
  ).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return {
    seen: sum(pages, ({ seen }) => seen),
    skipped: sum(pages, ({ skipped }) => skipped),
    pairs: pairs.flatMap(([, same = []]) =>
      same.slice(0, 1).map(({ source_type, pipeline }) => ({
        source_type,
        pipeline,
        entities: sum(same, ({ entities }) => entities),
        skipped: sum(same, ({ skipped }) => skipped),
        run: sum(same, ({ run }) => run),
        octets: sum(same, ({ octets }) => octets),
        known: sum(same, ({ known }) => known),
      })),
    ),
  };
}
